"""What a person runs: `audiocls train params/quickstart.yaml`."""

import logging

from flows.environment import prepare_environment

prepare_environment()

# Flows are an application, and may say how loud the library is: an epoch is worth a line.
logging.getLogger("audiocls").setLevel(logging.INFO)
