"""`isnet doctor`: what this machine offers, to read or to paste into an issue."""

from __future__ import annotations

from isnet_cli.cli.options import ScreenOptions, takes
from isnet_cli.cli.session import Result, Session, execute


@takes(ScreenOptions)
def doctor(options: ScreenOptions) -> int:
    """Show versions, devices, codecs and weights."""

    def body(session: Session) -> Result:
        from isnet_cli.check.doctor import examine

        facts = examine()
        lines = [f"{name:<9} {line}" for name, line in facts.lines()]
        lines += [f"problem   {text}" for text in facts.problems]
        return Result(facts.document(), "\n".join(lines), 6 if facts.problems else 0)

    return execute("doctor", options, body)
