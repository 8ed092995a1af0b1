"""`quizstream campaign save|cancel`"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

campaign = typer.Typer(
    name="campaign", help="Save a campaign from a file, or cancel one.", no_args_is_help=True
)


@campaign.command()
def save(
    file: Annotated[Path, typer.Argument(help="YAML: one campaign, or a list of them.")],
    json: Annotated[bool, typer.Option("--json", help="Print the saved versions as JSON.")] = False,
) -> None:
    """Save campaigns from a file. A changed campaign becomes a new version.

    Rejected are messages that could be empty or incomplete, and conditions that can never hold. The new
    version applies to completions that are accepted from two seconds later; earlier ones keep their version.

    ops/demo/seeds/campaigns.yaml is an example of a file.

    Exit codes: 0 saved, 2 rejected (every reason is printed) or not possible.

    Example:

      quizstream campaign save may-2026.yaml
    """
    import msgspec

    from ops.actor import actor
    from ops.audit.explain import time_text
    from ops.deployment.seed import read
    from ops.locate import find
    from sinks.postgres.catalogue.campaigns import CampaignDraft
    from sinks.postgres.catalogue.event_size import event_bytes_max
    from sinks.postgres.catalogue.operations import add_campaign
    from sinks.postgres.connect import connect

    found = find()
    drafts = read(file, list[CampaignDraft] | CampaignDraft)  # type: ignore[arg-type]
    now_ms = int(time.time() * 1000)
    listed = [drafts] if isinstance(drafts, CampaignDraft) else drafts
    with connect(found.settings.database_url, "campaign") as connection:
        limits, who = found.topology.campaigns, actor()
        bytes_max = event_bytes_max(found.topology.topic("campaigns"))
        saved = [add_campaign(connection, who, one, limits, now_ms, bytes_max) for one in listed]
    if json:
        print(msgspec.json.encode(saved).decode())
        return
    for one in saved:
        print(f"{one.campaign_id}: version {one.version}, in force from {time_text(one.effective_at)}")


@campaign.command()
def cancel(
    campaign_id: Annotated[str, typer.Argument(help="Id of the campaign.")],
) -> None:
    """Cancel a campaign permanently: no further calls are made for it, and no completion matches it.

    Exit codes: 0 cancelled, 2 unknown campaign, or not possible.

    Example:

      quizstream campaign cancel may-2026
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.operations import end_campaign
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "campaign") as connection:
        last = end_campaign(connection, actor(), campaign_id, int(time.time() * 1000))
    print(f"{last.campaign_id}: cancelled")
