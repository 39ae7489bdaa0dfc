"""The commands and their flows, such as `audiocls train params/quickstart.yaml`."""

import logging

from flows.environment import prepare_environment

prepare_environment()

# Flows are an application, so they set the log level of the library: one line per epoch.
logging.getLogger("audiocls").setLevel(logging.INFO)
