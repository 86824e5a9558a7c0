"""The server edge: HTTP/1.1 on a connection, from the first byte to the last.

uvicorn keeps the life cycle, the signals and the ASGI WebSocket protocol; everything between a client's bytes and the ASGI
application is here. One file per subject:

    limits      every figure the edge holds a client to
    hosts       which Host a request may name
    head        the head of a request: bytes -> Head, or a refusal          (pure)
    body        the body's framing: bytes -> pieces, or a refusal           (pure)
    answers     the head of an answer, and the answer to a refused request  (pure)
    exchange    one request and its answer, as the ASGI application sees them
    connection  one client: reads heads, keeps the order, closes
    front       what the connections of a process share
    sweep       the one timer behind all deadlines
    run         uvicorn with this edge
    websocket   what a connection becomes that asked for it; not imported before
"""
