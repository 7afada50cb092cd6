"""Documents of configurations, for several tests."""

from hypothesis import strategies as st

FULL = """
journal = { max_bytes = "1 GiB", max_age = "7d", sync = "disk", full = "drop_oldest" }
control = { path = "edr.sock", mode = "0600" }
http = { listen = "127.0.0.1:8490" }
[app]
name = "edr"
node = "apps1"
data_dir = "data"
shutdown_timeout = 15
ready_requires = ["audit"]
[sources.local]
type = "socket"
path = "in.sock"
[sources.web]
type = "http"
[links.kapps]
type = "rabbitmq"
url = { env = "EDR_AMQP_URL" }
receive = [{ app_name = "acdc" }]
[sinks.audit]
type = "file"
path = "events.jsonl"
rotate = { size = "100 MiB", keep = 10, compress = true }
bindings = [{ verbosity = "trace" }]
[sinks.alarms]
type = "http"
url = { env = "ALARMS_URL" }
headers = { Authorization = { file = "alarms.token" } }
format = { type = "cloudevents" }
batch = { events = 100, bytes = "512 KiB", linger = 0.5 }
retry = { base = 1, factor = 2, cap = 300, give_up_after = "3d" }
sign = { secret = { env = "ALARMS_SIGN" } }
bindings = [{ severity = "critical" }]
"""
"""The example of the documentation."""

ENVIRON = {
    "EDR_AMQP_URL": "amqp://edr:CANARY@broker",
    "ALARMS_URL": "https://hooks.example.net/CANARY",
    "ALARMS_SIGN": "whsec_" + "CANARY" * 8,
}
"""Its secrets."""

# fmt: off
KEYS = [
    "app", "journal", "control", "http", "web", "sources", "links", "sinks", "name", "node",
    "data_dir", "type", "path", "bindings", "severity", "verbosity", "body", "url", "env", "file",
    "headers", "format", "batch", "retry", "events", "bytes", "rotate", "size", "send", "receive",
    "sign", "secret", "audit", "tls", "listen", "accounts", "enabled", "ready_requires",
]
# fmt: on
WORDS = ["file", "http", "stdout", "rabbitmq", "nats", "socket", "critcal", "1 GiB", "7d", "a\x1bb"]

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)

ANY_DOCUMENT = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), VALUES, max_size=5)
"""Documents with the keys of a configuration at random places."""
