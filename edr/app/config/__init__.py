"""The configuration of the application: one file of TOML or JSON, checked as a whole.

``load(path)`` returns a ``Configuration`` or raises ``ConfigurationError`` with all faults. The
package reads files and environment variables; it starts nothing.

Read the modules in this order; each imports only from those before it:
faults, lines, secret, checked, quantities, texts, secret_values, binding_values, section, formats,
sinks, sources, links, web, model, parsing, rules, kazoo, loading, toml_text, dry_run, live.
"""

from edr.app.config.dry_run import Recorded, Trial, dry_run, recorded
from edr.app.config.faults import ConfigurationError, Fault, Note, table
from edr.app.config.formats import (
    CloudEventsFormat,
    FormatConfig,
    JsonFormat,
    KazooFormat,
    LogfmtFormat,
    TextFormat,
)
from edr.app.config.links import LinkConfig, NatsLinkConfig, RabbitLinkConfig
from edr.app.config.live import blocking_consumers, consumers_without_part, live_faults
from edr.app.config.loading import Loaded, load, load_with_notes, read
from edr.app.config.model import (
    AccountsConfig,
    AppConfig,
    Configuration,
    ControlConfig,
    HttpConfig,
    JournalConfig,
)
from edr.app.config.rules import faults_at_open
from edr.app.config.secret import Secret, SecretError, Secrets
from edr.app.config.sinks import (
    BatchConfig,
    FileSinkConfig,
    HttpSinkConfig,
    NatsSinkConfig,
    RabbitSinkConfig,
    RetryConfig,
    RotateConfig,
    SignConfig,
    SinkConfig,
    StdoutSinkConfig,
    TlsConfig,
)
from edr.app.config.sources import (
    HttpSourceConfig,
    JetStreamSourceConfig,
    SocketSourceConfig,
    SourceConfig,
    StdinSourceConfig,
)
from edr.app.config.toml_text import to_toml
from edr.app.config.web import WebConfig, WebLimitsConfig

__all__ = [
    "AccountsConfig",
    "AppConfig",
    "BatchConfig",
    "CloudEventsFormat",
    "Configuration",
    "ConfigurationError",
    "ControlConfig",
    "Fault",
    "FileSinkConfig",
    "FormatConfig",
    "HttpConfig",
    "HttpSinkConfig",
    "HttpSourceConfig",
    "JetStreamSourceConfig",
    "JournalConfig",
    "JsonFormat",
    "KazooFormat",
    "LinkConfig",
    "Loaded",
    "LogfmtFormat",
    "NatsLinkConfig",
    "NatsSinkConfig",
    "Note",
    "RabbitLinkConfig",
    "RabbitSinkConfig",
    "Recorded",
    "RetryConfig",
    "RotateConfig",
    "Secret",
    "SecretError",
    "Secrets",
    "SignConfig",
    "SinkConfig",
    "SocketSourceConfig",
    "SourceConfig",
    "StdinSourceConfig",
    "StdoutSinkConfig",
    "TextFormat",
    "TlsConfig",
    "Trial",
    "WebConfig",
    "WebLimitsConfig",
    "blocking_consumers",
    "consumers_without_part",
    "dry_run",
    "faults_at_open",
    "live_faults",
    "load",
    "load_with_notes",
    "read",
    "recorded",
    "table",
    "to_toml",
]
