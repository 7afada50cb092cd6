"""Two payloads that Kazoo's own code has written, with the keys they were published under."""

LOGIN_KEY = "edr.ok.info.5f1c0d6b2a7e4c3d9b8a1e0f7c6d5b4a.acdc"
LOGIN = (
    b'{"Account-Tree":["0aa1bb2cc3dd4ee5ff60718293a4b5c6","1bb2cc3dd4ee5ff60718293a4b5c6d70"],'
    b'"Account-ID":"5f1c0d6b2a7e4c3d9b8a1e0f7c6d5b4a","Node":"kazoo_apps@apps1.example.net",'
    b'"Verbosity":"info","Gregorian-Time":63871200000,"Timestamp":"2023-12-31T00:00:00Z",'
    b'"Severity":"ok","ID":"9d0f4a51c2b3e6778899aabbccddeeff",'
    b'"Body":{"event":"logged_into_queue","agent_id":"a1","queue_id":"q7"},'
    b'"Msg-ID":"f8abc6bfb98e15abe91fed025a1c564b","Event-Name":"event","Event-Category":"edr",'
    b'"App-Version":"4.0.0","App-Name":"acdc"}'
)

DISK_KEY = "edr.critical.fatal.undefined.my.app v2"
DISK = (
    b'{"Node":"kazoo_apps@apps2.example.net","Verbosity":"fatal","Gregorian-Time":63871200001,'
    b'"Timestamp":"2023-12-31T00:00:01Z","Severity":"critical",'
    b'"ID":"00112233445566778899aabbccddeeff","Body":{"Free-Percent":3,"Mount":"/","Nothing":null,'
    b'"Nested":{"List":["",null,{"In-List":""}]}},"Msg-ID":"62c40f4d6b89d1c41b1a351752cdf0fe",'
    b'"Event-Name":"event","Event-Category":"edr","App-Version":"0.3.1","App-Name":"my.app v2"}'
)

SAMPLES = [(LOGIN_KEY, LOGIN), (DISK_KEY, DISK)]
