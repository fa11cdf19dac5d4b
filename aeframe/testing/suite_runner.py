"""Run every conformance check on every part of one plugin."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from aeframe.errors import AeframeError, did_you_mean
from aeframe.registry import Plugin, registry
from aeframe.testing.check import Check, Outcome, SharedWork
from aeframe.testing.checks import CHECKS
from aeframe.testing.expectations import NotApplicableError
from aeframe.testing.options import SuiteOptions
from aeframe.testing.part_under_test import PartUnderTest


class SuiteRunner:
    """Runs the checks of one plugin; each check of a part runs once, and its outcome is kept.

    Args:
        options: The plugin, and what its author declares about its parts.

    Raises:
        AeframeError: The options name an unknown plugin, check or part, or an empty reason.
    """

    def __init__(self, options: SuiteOptions) -> None:
        self.options = options
        plugin = _plugin(options.plugin)
        # A temporary folder, deleted together with the runner.
        folder = Path(tempfile.mkdtemp(prefix="aeframe-check-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._parts = [PartUnderTest(plugin, entry, options, folder) for entry in (None, *plugin.entries)]
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._shared_work_errors: dict[str, dict[str, Exception]] = {}
        self._check_options()

    def cases(self) -> Iterator[tuple[Check, PartUnderTest]]:
        """Yield each part with each check of its kind, part by part."""
        for part in self._parts:
            for check in CHECKS:
                if part.kind in check.kinds:
                    yield check, part

    def part(self, part_id: str) -> PartUnderTest:
        """Return the part with an id such as ``"loss=mse"``."""
        return next(part for part in self._parts if part.id == part_id)

    def outcomes(self) -> list[Outcome]:
        """Run all checks of all parts."""
        return [self.outcome(check, part) for check, part in self.cases()]

    def outcome(self, check: Check, part: PartUnderTest) -> Outcome:
        """Return the outcome of one check of one part; run the check if it did not run before."""
        key = (check.name, part.id)
        if key not in self._outcomes:
            self._outcomes[key] = self._run(check, part)
        return self._outcomes[key]

    def _run(self, check: Check, part: PartUnderTest) -> Outcome:
        reason = self._reason_to_skip(check, part)
        if reason is not None:
            return Outcome(check, part.id, "not applicable", reason)
        try:
            if check.shared_work is not None:
                self._do_shared_work(check, check.shared_work, part)
            check.function(part)
        except NotApplicableError as error:
            return Outcome(check, part.id, "not applicable", str(error))
        except AssertionError as error:
            return Outcome(check, part.id, "failed", str(error), error)
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: any error is a fault of the part
            return Outcome(check, part.id, "failed", f"{type(error).__name__}: {error}", error)
        return Outcome(check, part.id, "ok")

    def _reason_to_skip(self, check: Check, part: PartUnderTest) -> str | None:
        """Return why a check does not run, None if it does.

        The suite declares it not applicable, or a check that it depends on did not pass.
        """
        for key in (check.name, f"{check.name}:{part.id}"):
            if key in self.options.not_applicable:
                return self.options.not_applicable[key]
        for earlier in CHECKS:
            if earlier.name in check.depends_on and part.kind in earlier.kinds:
                state = self.outcome(earlier, part).state
                if state != "ok":
                    return f"it depends on the check '{earlier.name}', with the outcome '{state}'"
        return None

    def _do_shared_work(self, check: Check, work: SharedWork, part: PartUnderTest) -> None:
        """Do the work of a check for all parts, unless it was done before; raise the error in preparing `part`."""
        if check.name not in self._shared_work_errors:
            errors = self._shared_work_errors[check.name] = {}
            prepared = []
            for candidate in self._parts:
                if candidate.kind in check.kinds and self._reason_to_skip(check, candidate) is None:
                    try:
                        work.prepare(candidate)
                    except Exception as error:  # noqa: BLE001 -- the plugin boundary: raised when the part is checked
                        errors[candidate.id] = error
                    else:
                        prepared.append(candidate)
            if prepared:
                work.run(prepared)
        if part.id in self._shared_work_errors[check.name]:
            raise self._shared_work_errors[check.name][part.id]

    def _check_options(self) -> None:
        names = [check.name for check in CHECKS]
        ids = [part.id for part in self._parts]
        for key, reason in self.options.not_applicable.items():
            name, _, part_id = key.partition(":")
            if name not in names:
                raise AeframeError(
                    f"not_applicable names an unknown check '{name}'{did_you_mean(name, names)}; checks are "
                    f"{', '.join(names)}"
                )
            if part_id and part_id not in ids:
                raise AeframeError(
                    f"not_applicable names '{part_id}', which plugin '{self.options.plugin}' does not register"
                    f"{did_you_mean(part_id, ids)}"
                )
            if not reason.strip():
                raise AeframeError(f"not_applicable has no reason for '{key}'; write why the check does not apply")
        for part_id in self.options.options:
            if part_id not in ids:
                raise AeframeError(
                    f"options names '{part_id}', which plugin '{self.options.plugin}' does not register"
                    f"{did_you_mean(part_id, ids)}"
                )


def _plugin(name: str) -> Plugin:
    plugins = {plugin.name: plugin for plugin in registry().plugins}
    if name not in plugins:
        raise AeframeError(
            f"there is no plugin '{name}'{did_you_mean(name, plugins)}; installed are {', '.join(plugins)}"
        )
    return plugins[name]
