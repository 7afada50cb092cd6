"""The logger of links and of the JetStream journal."""

import logging

logger: logging.Logger = logging.getLogger("edr.links")
