"""A Prefect plugin for `prefect deployment run train-flow`: a flow's name alone selects its deployment `default`.

Prefect 3.8 looks up deployments as FLOW/DEPLOYMENT and rejects a name without a slash. Plugins must be enabled:
`[tool.prefect.plugins]` in pyproject.toml does so for commands that run in this checkout, and
PREFECT_PLUGINS_ENABLED=true elsewhere. Remove once Prefect supports default deployments.
"""

from __future__ import annotations

from typing import Any

from prefect.plugins import register_hook

PREFECT_PLUGIN_API_REQUIRES = ">=0.1,<1"


@register_hook
def setup_environment(*, ctx: Any) -> None:
    """Patch Prefect's client to accept the short name; Prefect calls this before a command runs."""
    from prefect.client.orchestration import PrefectClient

    by_full_name = PrefectClient.read_deployment_by_name
    if getattr(by_full_name, "knows_short_names", False):
        return

    async def read_deployment_by_name(self: Any, name: str) -> Any:
        return await by_full_name(self, name if "/" in name else await _full_name(self, name))

    read_deployment_by_name.knows_short_names = True  # type: ignore[attr-defined]
    PrefectClient.read_deployment_by_name = read_deployment_by_name  # type: ignore[method-assign]


async def _full_name(client: Any, flow_name: str) -> str:
    """Find the deployment `default` of a flow, or its only one."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    found = await client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])))
    names = sorted(deployment.name for deployment in found)
    if "default" in names:
        return f"{flow_name}/default"
    if len(names) == 1:
        return f"{flow_name}/{names[0]}"
    if names:
        raise ValueError(
            f"{flow_name} has several deployments; choose one: {', '.join(f'{flow_name}/{n}' for n in names)}"
        )
    # For an unknown name, Prefect's client raises its own error.
    return f"{flow_name}/default"
