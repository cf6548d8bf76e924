"""``avdetect demo``: scores the clip that ships with the package."""

from __future__ import annotations

from pathlib import Path

import typer

from avdetect_cli.options import DeviceOption, EventChoices, JsonOption, QuietOption, ReportOption

__all__ = ["demo"]


def demo(
    json: JsonOption = False,
    report: ReportOption = None,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Score the real clip that ships with the package."""
    import avdetect
    from avdetect.runtime.pipeline import ScoreOptions
    from avdetect_cli.commands.score import score_paths
    from avdetect_cli.outputs import OutputRequest

    clip = Path(avdetect.__file__).parent / "assets" / "demo.mp4"
    score_paths(
        [str(clip)],
        ScoreOptions(),
        EventChoices.parse([], None, None, None, None),
        OutputRequest(json=json, report=report, quiet=quiet),
        bundle_path=None,
        device=device,
        jobs=1,
    )
    if not (json or quiet or report):
        typer.echo("\nNext: avdetect score YOUR_VIDEO, or see it played: avdetect demo --report demo.html")
