"""Prefect tasks: the stages of a flow.

Each file wraps the library module of its name, and adds retries, run names, artifacts and timing.
"""

from tasks.forks import wait_for_own_services_only
from tasks.reconnection import remember_answers

wait_for_own_services_only()
remember_answers()
