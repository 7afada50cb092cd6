"""The Unix sockets that edr listens on: the control socket, and the socket of a source.

The modules need neither pydantic nor an event loop.

Read the modules in this order; each imports only from those before it:
probing, peer, shared_folder, listener.
"""

from edr._sockets.listener import Listener
from edr._sockets.peer import peer_uid
from edr._sockets.probing import is_listening
from edr._sockets.shared_folder import check_shared_folder

__all__ = ["Listener", "check_shared_folder", "is_listening", "peer_uid"]
