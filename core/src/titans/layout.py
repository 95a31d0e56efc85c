"""Where the objects of a provider lie, and which keys may be believed.

    [test/]parquet_cp_hot/aws/2026/01/23/14-20.parquet            one file per slot (hot tier)
    [test/]parquet_warm/aws/m8/2026/01/manifest.json              the month's manifest
    [test/]parquet_warm/aws/m8/2026/01/L1_0001_00000-00007.parquet  merged files (warm tier)
    [test/]parquet_warm/aws/m8/2026/01/B_00000_1f0c….parquet      border: a full snapshot's changes
    [test/]parquet_state/aws/m8/2026/01/K_00256_1f0c….parquet     keyframes: the state before a slot
    [test/]iceberg/aws/changes/metadata/v1.metadata.json          what is published

Every function that builds a key has an inverse that refuses what it could not have built: keys
found in a manifest, in a listing or in a call are data, not trust.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import permutations

from attrs import frozen

from titans.errors import InputError, InvalidKeyError
from titans.slots import DAY_MINUTES, Month, Slot

__all__ = ["FANOUT", "KeyframeName", "PathLayout", "Paths", "WarmName"]

FANOUT = 8
"""How many files of one level are merged into one of the next (`m8` in the paths)."""

_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._=-]*"
_NAME = re.compile(_SEGMENT)
_PREFIX = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_WARM = re.compile(
    r"(?:L(?P<level>[1-9]\d*)_(?P<id>\d{4,})_(?P<first>\d{5})-(?P<last>\d{5})"
    r"|(?P<letter>[BC])_(?P<slot>\d{5})_[0-9a-f]{8,32})\.parquet"
)
_HOT = re.compile(r"/(\d{4})/(\d\d)/(\d\d)/(\d\d)-(\d\d)\.parquet")
_KEYFRAME = re.compile(r"(?P<letter>[FK])_(?P<slot>\d{5})_[0-9a-f]{8,32}\.parquet")


@frozen
class PathLayout:
    """Path prefixes of a provider, without environment; `{provider}` stands for its name.

    Args:
        hot, warm, state: prefixes of the hot tier, the warm tier and the keyframes. They must
            differ, and none may lie inside another.
        slot_minutes: length of a slot in minutes; a divisor of a day. An archive keeps the length
            it began with.
    """

    hot: str = "parquet_cp_hot/{provider}"
    warm: str = "parquet_warm/{provider}/m8"
    state: str = "parquet_state/{provider}/m8"
    slot_minutes: int = 10

    def __attrs_post_init__(self) -> None:
        prefixes = (self.hot, self.warm, self.state)
        for prefix in prefixes:
            if not _is_prefix(prefix):
                raise InputError(
                    f"not a path prefix: {prefix!r}; use names of letters, digits and . _ = - "
                    "joined by '/', "
                    "none of them starting with a dot, the first neither 'test' nor 'iceberg'"
                )

        for a, b in permutations(prefixes, 2):
            if (a + "/").startswith(b + "/"):
                raise InputError(
                    f"the prefixes {a!r} and {b!r} overlap; give each tier a prefix of its own"
                )

        minutes = self.slot_minutes
        if type(minutes) is not int or minutes < 1 or DAY_MINUTES % minutes:
            raise InputError(
                "slot_minutes must be a whole number of minutes that divides a day (1440), such "
                "as 5, 10, 15 or 60, "
                f"got {minutes!r}"
            )


def _is_prefix(template: str) -> bool:
    if template.split("/")[0] in ("test", "iceberg"):
        return False
    return bool(_PREFIX.fullmatch(template.replace("{provider}", "x")))


@frozen
class WarmName:
    """A file beside a manifest: `L{level}_{id}_{first}-{last}.parquet`, the corrections
    `C_{slot}_{id}.parquet`, or a border `B_{slot}_{id}.parquet`.
    """

    level: int
    """0 for corrections and borders."""
    first: int
    last: int
    id: int | None
    """The number of a merged file."""
    letter: str = "L"

    @classmethod
    def parse(cls, name: str) -> WarmName | None:
        """`None` where `name` is no such name."""
        match = _WARM.fullmatch(name)
        if not match:
            return None

        if match["slot"] is not None:
            slot = int(match["slot"])
            return cls(0, slot, slot, None, match["letter"])
        return cls(int(match["level"]), int(match["first"]), int(match["last"]), int(match["id"]))


@frozen
class KeyframeName:
    """A keyframe: `K_{slot}_{id}.parquet`, the state at the start of the slot, or
    `F_{slot}_{id}.parquet`, the full snapshot of the slot.
    """

    slot: int
    is_full: bool = False

    @classmethod
    def parse(cls, name: str) -> KeyframeName | None:
        """`None` where `name` is no such name."""
        match = _KEYFRAME.fullmatch(name)
        if not match:
            return None
        return cls(int(match["slot"]), match["letter"] == "F")


@frozen
class Paths:
    """The layout of one provider in one environment: builds keys, and takes them apart again."""

    provider: str
    layout: PathLayout
    environment: str = ""

    @classmethod
    def of(cls, provider: str, layout: PathLayout) -> Paths:
        """For the environment that `TITANS_ENV` names now: `test` puts everything below `test/`."""
        environment = "test/" if os.environ.get("TITANS_ENV") == "test" else ""
        return cls(provider, layout, environment)

    def _prefix(self, template: str) -> str:
        return self.environment + template.replace("{provider}", self.provider)

    @property
    def hot_prefix(self) -> str:
        return self._prefix(self.layout.hot)

    @property
    def warm_prefix(self) -> str:
        return self._prefix(self.layout.warm)

    @property
    def state_prefix(self) -> str:
        return self._prefix(self.layout.state)

    @property
    def minutes(self) -> int:
        return self.layout.slot_minutes

    # --- hot tier ---------------------------------------------------------------------------------

    def hot_key(self, slot: Slot) -> str:
        """`parquet_cp_hot/aws/2026/01/23/14-20.parquet`"""
        return f"{self.hot_prefix}/{slot.start:%Y/%m/%d/%H-%M}.parquet"

    def hot_month(self, month: Month) -> str:
        """The prefix of the hot files of a month."""
        return f"{self.hot_prefix}/{month.path}/"

    def hot_slots(self) -> Callable[[str], Slot | None]:
        """Key → the slot of a hot key, `None` for any other."""
        return partial(_hot_slot, self.hot_prefix, self.minutes)

    def parse_hot_key(self, key: str) -> Slot:
        """The slot of a hot key.

        Raises:
            InvalidKeyError: the key is not one that this provider and environment would write.
        """
        slot = self.hot_slots()(key)
        if slot is None:
            raise InvalidKeyError(
                f"not a hot key of provider {self.provider!r}: {key!r}; "
                f"expected {self.hot_prefix}/YYYY/MM/DD/HH-MM.parquet, at the start of a slot of "
                f"{self.minutes} minutes, as "
                "upload_hot_tier returns it",
                provider=self.provider,
                key=key,
            )

        return slot

    def as_any_hot_key(self, key: str) -> Slot | None:
        """As `parse_hot_key`, for slots of whatever length: the minute of the key. `None` where it
        is no hot key at all.
        """
        return _hot_slot(self.hot_prefix, 1, key)

    # --- warm tier --------------------------------------------------------------------------------

    def warm_month(self, month: Month) -> str:
        """The prefix of the warm files of a month."""
        return f"{self.warm_prefix}/{month.path}/"

    def after_warm_month(self, month: Month) -> str:
        """Greater than every key of the month's warm tier, and less than those of later months."""
        return self.warm_month(month) + "~"

    def manifest_key(self, month: Month) -> str:
        return self.warm_month(month) + "manifest.json"

    def parse_manifest_key(self, key: str) -> Month | None:
        """The month of a manifest key, `None` where `key` is none."""
        match = re.fullmatch(rf"{re.escape(self.warm_prefix)}/(\d{{4}})/(\d\d)/manifest\.json", key)
        if match is None:
            return None
        return _month(int(match[1]), int(match[2]))

    @staticmethod
    def merged_name(level: int, id: int, first: int, last: int) -> str:
        return f"L{level}_{id:04d}_{first:05d}-{last:05d}.parquet"

    @staticmethod
    def correction_name(slot: int, id: str) -> str:
        return f"C_{slot:05d}_{id}.parquet"

    @staticmethod
    def border_name(slot: int, id: str) -> str:
        return f"B_{slot:05d}_{id}.parquet"

    # --- keyframes --------------------------------------------------------------------------------

    def state_month(self, month: Month) -> str:
        """The prefix of the keyframes of a month."""
        return f"{self.state_prefix}/{month.path}/"

    @staticmethod
    def keyframe_name(slot: int, id: str) -> str:
        return f"K_{slot:05d}_{id}.parquet"

    @staticmethod
    def full_name(slot: int, id: str) -> str:
        return f"F_{slot:05d}_{id}.parquet"

    def parse_keyframe_key(self, key: str) -> tuple[Month, str] | None:
        """Month and name of a keyframe's key, `None` where `key` is none."""
        match = re.fullmatch(rf"{re.escape(self.state_prefix)}/(\d{{4}})/(\d\d)/([^/]+)", key)
        if not match or KeyframeName.parse(match[3]) is None:
            return None

        month = _month(int(match[1]), int(match[2]))
        return None if month is None else (month, match[3])

    @property
    def refused_key(self) -> str:
        """Of what is kept of snapshots that were refused, see `titans.refusals`."""
        return f"{self.state_prefix}/refused.parquet"

    @property
    def copied_key(self) -> str:
        """Of what `titans copy` left where it copied to, see `titans.holdings.copying`."""
        return f"{self.state_prefix}/copied.json"

    @property
    def verified_key(self) -> str:
        """Of what the last verification found, see `titans.tiers.maintain.verified`."""
        return f"{self.state_prefix}/verified.json"

    # --- for other engines ------------------------------------------------------------------------

    def iceberg_table(self, name: str) -> str:
        """The prefix of a published table: `iceberg/aws/changes/`"""
        return f"{self.environment}iceberg/{self.provider}/{name}/"

    # --- any file of a manifest -------------------------------------------------------------------

    def file_key(self, month: Month, file: str) -> str:
        """The key of a file as a manifest names it: warm files and keyframes by bare name, a hot
        file by its full key.

        Raises:
            InvalidKeyError: it names something that cannot belong to this provider and month.
        """
        if WarmName.parse(file) is not None:
            return self.warm_month(month) + file
        if KeyframeName.parse(file) is not None:
            return self.state_month(month) + file
        if "/" in file and self.parse_hot_key(file).month == month:
            return file
        raise InvalidKeyError(
            f"{file!r} is not a file of provider {self.provider!r}, month {month}: neither the "
            "name of a warm file "
            f"or keyframe nor a hot key under {self.hot_month(month)}",
            provider=self.provider,
            month=str(month),
            key=file,
        )


@lru_cache
def _month(year: int, month: int) -> Month | None:
    """The same object for the same month; `None` where a key names no month.

    At most 128 are kept, and none goes stale: a month depends on its numbers alone. Threads and
    forks may share them.
    """
    if not (1 <= month <= 12 and 1 <= year <= 9998):
        return None
    return Month(year, month)


@lru_cache(maxsize=1 << 14)
def _hot_slot(prefix: str, minutes: int, key: str) -> Slot | None:
    """The slot of a hot key; the same keys are listed again and again.

    At most 16,384 are kept, and none goes stale: a slot depends on the arguments alone. Threads and
    forks may share them.
    """
    if not key.startswith(prefix):
        return None
    match = _HOT.fullmatch(key, len(prefix))
    if not match:
        return None

    year, month_number, day, hour, minute = map(int, match.groups())
    month = _month(year, month_number)
    minute_of_day = hour * 60 + minute
    if month is None or day < 1 or minute >= 60 or minute_of_day >= DAY_MINUTES:
        return None

    index, rest = divmod((day - 1) * DAY_MINUTES + minute_of_day, minutes)
    if rest or index >= month.slots(minutes):
        return None
    return Slot(month, index, minutes)


def check_name(name: str) -> str:
    """`name`, if it can stand for a provider in a path."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            "a provider is named with letters, digits and . _ = -, starting with a letter or "
            f"digit: {name!r}"
        )
    return name
