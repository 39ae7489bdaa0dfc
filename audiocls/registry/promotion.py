"""Moves the aliases of a registered model: its champion, the version before it, and its challenger.

There is never a moment without a champion once there was one, because MLflow replaces an alias in one step. Changes
exclude one another: on one machine by a lock, on several by the entries of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from mlflow import MlflowClient

from audiocls.errors import ParamsError, RegistryError
from audiocls.registry.ledger import Action, Entry, read_ledger, settle_entry, write_entry
from audiocls.registry.smoke import check_smoke
from audiocls.registry.versions import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    Version,
    add_version,
    aliases_of,
    find_version,
    open_registry,
    versions_of,
)

_LOCK_SECONDS: Final = 60.0
_OTHERS_TAKE: Final = timedelta(minutes=2)
"""An entry of another machine that has no outcome after that time was left by a killed process."""


class Registry:
    """The versions of one registered model, in the registry of an MLflow store."""

    def __init__(self, name: str, uri: str, folder: Path) -> None:
        """Choose a model.

        Args:
            name: Of the registered model.
            uri: Of the MLflow store.
            folder: Gets a lock, which processes of this machine share.
        """
        self.name = name
        self.uri = uri
        self._folder = folder

    def register(self, run_id: str, tags: Mapping[str, str], why: str) -> Version:
        """Make the model of a run the next version, and the challenger; the same run gives the same version again.

        Raises:
            ParamsError: The run has no model.
        """
        with self._changing() as client:
            version = add_version(client, self.name, run_id, tags)
            if not any(entry.version == version.number for entry in read_ledger(client, self.name)):
                entry = write_entry(client, self.name, "registered", version.number, None, why, {})
                settle_entry(client, self.name, entry, "done")
            if aliases_of(client, self.name).get(CHAMPION) != version.number:
                client.set_registered_model_alias(self.name, CHALLENGER, str(version.number))
        return version

    def champion(self) -> Version | None:
        """Return the version in use; None: there is none."""
        with open_registry(self.uri) as client:
            number = aliases_of(client, self.name).get(CHAMPION)
            return None if number is None else find_version(client, self.name, number)

    def version(self, number: int) -> Version:
        """Return a version.

        Raises:
            ParamsError: There is no such version.
        """
        with open_registry(self.uri) as client:
            return find_version(client, self.name, number)

    def challenger(self) -> Version | None:
        """Return the version that was registered last and not promoted; None: there is none."""
        with open_registry(self.uri) as client:
            number = aliases_of(client, self.name).get(CHALLENGER)
            return None if number is None else find_version(client, self.name, number)

    def decided(self) -> list[Version]:
        """Return the versions that were promoted or kept back, the oldest first."""
        with self._changing() as client:
            if not aliases_of(client, self.name):
                return []
            entries = read_ledger(client, self.name)
            numbers = {e.version for e in entries if e.action != "registered" and e.outcome == "done"}
            return [version for version in versions_of(client, self.name) if version.number in numbers]

    def history(self) -> list[Entry]:
        """Return the ledger, the oldest entry first.

        Raises:
            ParamsError: The model is not registered.
        """
        with open_registry(self.uri) as client:
            self._require(client)
            return read_ledger(client, self.name)

    def promote(self, number: int, why: str, figures: Mapping[str, Any] | None = None, *, against: Any = ...) -> Entry:
        """Put a version into use, after it has answered its smoke sounds in a new process.

        Args:
            number: Of the version.
            why: For the ledger.
            figures: That the decision rests on.
            against: The champion that the version was compared with, None for none; not given: whatever it is.

        Raises:
            ParamsError: There is no such version, or it is the champion already.
            RegistryError: It does not answer its smoke sounds, or the champion is another one than `against`.
        """
        check_smoke(self.version(number), self.uri)
        return self._move(number, "promoted", why, figures or {}, against)

    def roll_back(self, why: str) -> Entry:
        """Put the version before the champion into use again, after it has answered its smoke sounds.

        Raises:
            ParamsError: There is no version before it.
            RegistryError: The version does not answer its smoke sounds; the champion stays.
        """
        with open_registry(self.uri) as client:
            self._require(client)
            aliases = aliases_of(client, self.name)
            champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
            if previous is None or previous == champion:
                raise ParamsError(f"{self.name}: no version was in use before version {champion}.")
            version = find_version(client, self.name, previous)
        check_smoke(version, self.uri)
        return self._move(previous, "rolled back", why, {}, champion)

    def keep(self, number: int, why: str, figures: Mapping[str, Any]) -> Entry:
        """Note that a challenger was refused, by which figures."""
        with self._changing() as client:
            champion = aliases_of(client, self.name).get(CHAMPION)
            entry = write_entry(client, self.name, "kept", number, champion, why, figures)
            settle_entry(client, self.name, entry, "done")
            return entry

    def _move(self, number: int, action: Action, why: str, figures: Mapping[str, Any], against: Any) -> Entry:
        with self._changing() as client:
            find_version(client, self.name, number)
            champion = aliases_of(client, self.name).get(CHAMPION)
            if champion == number:
                raise ParamsError(f"{self.name}: version {number} is the champion already.")
            if against is not ... and champion != against:
                raise RegistryError(
                    f"{self.name}: version {number} was compared with version {against}, and the champion is "
                    f"version {champion} by now. Compare again."
                )
            entry = write_entry(client, self.name, action, number, champion, why, figures)
            others = [each for each in self._unsettled(client) if each.key != entry.key]
            if others:
                settle_entry(client, self.name, entry, "abandoned")
                raise RegistryError(f"{self.name}: {others[0].who} is changing the champion at this moment. Try again.")
            if champion is not None:
                client.set_registered_model_alias(self.name, PREVIOUS, str(champion))
            client.set_registered_model_alias(self.name, CHAMPION, str(number))
            if aliases_of(client, self.name).get(CHALLENGER) == number:
                client.delete_registered_model_alias(self.name, CHALLENGER)
            settle_entry(client, self.name, entry, "done")
            return entry

    @contextmanager
    def _changing(self) -> Iterator[MlflowClient]:
        """Exclude other changes of this machine, and finish what a killed process began."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / f"{self.name.replace('/', '_')}.lock", timeout=_LOCK_SECONDS)
        try:
            with lock, open_registry(self.uri) as client:
                self._settle(client)
                yield client
        except Timeout as error:
            raise RegistryError(
                f"{lock.lock_file}: another process has been changing {self.name} for {_LOCK_SECONDS:g} s."
            ) from error

    def _settle(self, client: MlflowClient) -> None:
        """Say of entries that a killed process left whether their change was made, and put `previous` right."""
        aliases = aliases_of(client, self.name)
        if not aliases:
            return
        for entry in self._unsettled(client):
            if not entry.is_of_this_machine and datetime.now(UTC) - entry.at < _OTHERS_TAKE:
                continue
            made = aliases.get(CHAMPION) == entry.version or not entry.moves_the_champion
            settle_entry(client, self.name, entry, "done" if made else "abandoned")
        moves = [e for e in read_ledger(client, self.name) if e.moves_the_champion and e.outcome == "done"]
        before = moves[-1].replaced if moves else None
        if before is not None and aliases.get(PREVIOUS) != before:
            client.set_registered_model_alias(self.name, PREVIOUS, str(before))

    def _unsettled(self, client: MlflowClient) -> list[Entry]:
        return [entry for entry in read_ledger(client, self.name) if entry.outcome is None]

    def _require(self, client: MlflowClient) -> None:
        if not aliases_of(client, self.name):
            raise ParamsError(f"{self.name}: not registered; run: audiocls register RUN --model {self.name}")
