"""Writes what schedules mean by Python's own calendar and time zones, for main.rs to compare with. Run from this folder:

    pip install python-dateutil==4.0.0 tzdata==2025.2
    PYTHONTZPATH= python expected.py ../fixtures/schedules
tzdata is of the version that chrono-tz has (2025b); another one disagrees where a country changed its clocks since.
"""

import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import tzdata
from dateutil.rrule import rrulestr

ZONES = """Europe/Berlin Europe/London Europe/Lisbon Europe/Athens Europe/Istanbul Africa/Casablanca Africa/Johannesburg
America/New_York America/Chicago America/Denver America/Phoenix America/Los_Angeles America/St_Johns America/Sao_Paulo
America/Santiago Asia/Kolkata Asia/Kathmandu Australia/Sydney Australia/Lord_Howe Pacific/Auckland""".split()
# Both changes of 2027 in Europe, North America, Lord Howe, Sydney, Auckland and Santiago lie within a day of one of
# these, and each time lies in a gap or an overlap of some of the zones.
DAYS = [(3, 14), (3, 28), (4, 4), (9, 5), (9, 26), (10, 3), (10, 31), (11, 7), (4, 3), (9, 4)]
TIMES = [(2, 30), (1, 45), (9, 0)]


def instant(local, zone):
    """The first reading of a local time; one in a gap moves forward by the gap, which is what fold=0 means."""
    return local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(timezone.utc)


def instants():
    # Sixty recipients: each zone three times, once per time of day.
    for zone in ZONES:
        for hour, minute in TIMES:
            for month, day in DAYS:
                local = datetime(2027, month, day, hour, minute)
                yield f"{zone}\t{local:%Y-%m-%dT%H:%M}\t{instant(local, zone):%Y-%m-%dT%H:%MZ}"


def allowed(time, window):
    start, end = window
    return start <= time < end if start <= end else time >= start or time < end


def openings():
    # The window's next opening, found by walking the minutes.
    choose = random.Random(2027)
    for zone in ZONES:
        for month, day in DAYS:
            window = [f"{choose.randrange(24):02}:{choose.choice([0, 15, 30, 45]):02}" for _ in range(2)]
            if window[0] == window[1]:
                continue
            after = datetime(2027, month, day, tzinfo=timezone.utc) - timedelta(minutes=choose.randrange(1440))
            at = after
            while not allowed(at.astimezone(ZoneInfo(zone)).strftime("%H:%M"), window):
                at += timedelta(minutes=1)
            yield f"{zone}\t{after:%Y-%m-%dT%H:%MZ}\t{window[0]}\t{window[1]}\t{at:%Y-%m-%dT%H:%MZ}"


def rules():
    choose = random.Random(5545)
    days = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
    written = set()
    while len(written) < 400:
        freq = choose.choice(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])
        parts = [f"FREQ={freq}"]
        if choose.random() < 0.4:
            parts.append(f"INTERVAL={choose.randint(1, 5)}")
        by = 0
        if choose.random() < 0.5:
            ordinal = freq in ("MONTHLY", "YEARLY") and choose.random() < 0.5
            chosen = choose.sample(days, choose.randint(1, 3))
            chosen = [(choose.choice(["1", "2", "-1", "-2"]) if ordinal else "") + day for day in chosen]
            parts.append("BYDAY=" + ",".join(chosen))
            by += 1
        if freq != "WEEKLY" and choose.random() < 0.35:
            chosen = choose.sample([1, 2, 13, 15, 28, 29, 30, 31, -1, -2, -7], choose.randint(1, 3))
            parts.append("BYMONTHDAY=" + ",".join(map(str, chosen)))
            by += 1
        if choose.random() < 0.3:
            chosen = sorted(choose.sample(range(1, 13), choose.randint(1, 4)))
            parts.append("BYMONTH=" + ",".join(map(str, chosen)))
            by += 1
        # The first or last of one day is that day, which says nothing; RFC 5545 means BYSETPOS for longer periods.
        if by and freq in ("MONTHLY", "YEARLY") and choose.random() < 0.3:
            parts.append(f"BYSETPOS={choose.choice([1, 2, -1, -2])}")
        if choose.random() < 0.3:
            parts.append(f"WKST={choose.choice(days)}")
        if choose.random() < 0.6:
            count, until = choose.randint(1, 12), None
            rule = ";".join([*parts, f"COUNT={count}"])
        else:
            count, until = None, f"2028{choose.randint(1, 12):02}{choose.randint(1, 28):02}"
            rule = ";".join([*parts, f"UNTIL={until}"])
        start = datetime(2027, choose.randint(1, 12), choose.randint(1, 28), 9, 30)
        # A day includes all of it, which dateutil has to be told.
        told = rule if until is None else f"{rule}T235959"
        horizon = start.replace(year=start.year + 10)
        found = []
        for at in rrulestr(told, dtstart=start):
            if at > horizon:
                break
            found.append(at)
        complete = count is None or len(found) == count
        if rule in written or len(found) > 400:
            continue
        written.add(rule)
        # Nothing: the rule never comes, or not as often as it says within ten years.
        shown = ",".join(f"{at:%Y-%m-%d}" for at in found) if complete else ""
        yield f"{start:%Y-%m-%dT%H:%M}\t{rule}\t{shown}"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, header, rows in [
        ("instants.tsv", "time zone, local time, instant", instants()),
        ("openings.tsv", "time zone, instant, window from, to, the first instant inside", openings()),
        ("rules.tsv", "first local time, rule, days (none: refused)", rules()),
    ]:
        made = f"Made by domain/tests/schedules/expected.py from tz {tzdata.IANA_VERSION}; not edited by hand."
        lines = [f"# {header}. {made}", *rows]
        (folder / name).write_text("\n".join(lines) + "\n")
