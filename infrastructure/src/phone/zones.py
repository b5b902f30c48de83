"""Writes zones.tsv: which beginnings of phone numbers lie in one time zone. Run from this folder:

    pip install phonenumbers==9.0.43 tzdata==2026.6
    PYTHONTZPATH= python zones.py > zones.tsv

A country code has a zone where zone.tab gives its countries one; zones that keep the same time in the years below count
as one, since a message leaves at the same instant by either. Below the country code, area codes help only where mobile
numbers have them too: in North America, Brazil and Mexico. libphonenumber knows which state an area code is in; its
zones are not used, as they put Recife on an island, Belém in Manaus and Orlando in Chicago.
"""

import sys
from datetime import datetime, timedelta, timezone
from importlib import resources
from zoneinfo import ZoneInfo

import phonenumbers
import tzdata
from phonenumbers.geodata import GEOCODE_DATA

FIRST_YEAR, LAST_YEAR = 2026, 2031
# zone.tab lists Urumqi, which part of Xinjiang keeps beside the one time that is official in all of China.
OFFICIAL = {"CN": "Asia/Shanghai"}
# Numbers in Crimea have had Russia's code since 2014; Kosovo is not in zone.tab.
OFFICIAL |= {"UA": "Europe/Kyiv", "XK": "Europe/Belgrade"}

EASTERN, CENTRAL, MOUNTAIN, PACIFIC = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
TORONTO, PHOENIX = "America/Toronto", "America/Phoenix"
# States and provinces that lie in one zone, as libphonenumber spells them.
STATES = {
    **dict.fromkeys(["Connecticut", "Delaware", "Georgia", "Maine", "Maryland", "Massachusetts", "New Hampshire"], EASTERN),
    **dict.fromkeys(["New Jersey", "New York", "North Carolina", "Ohio", "Pennsylvania", "Rhode Island"], EASTERN),
    **dict.fromkeys(["South Carolina", "Vermont", "Virginia", "Washington D.C.", "West Virginia"], EASTERN),
    **dict.fromkeys(["Alabama", "Arkansas", "Illinois", "Iowa", "Louisiana", "Minnesota", "Mississippi"], CENTRAL),
    **dict.fromkeys(["Missouri", "Oklahoma", "Wisconsin"], CENTRAL),
    **dict.fromkeys(["Colorado", "Montana", "New Mexico", "Utah", "Wyoming"], MOUNTAIN),
    **dict.fromkeys(["California", "Washington State"], PACIFIC),
    **{"Hawaii": "Pacific/Honolulu", "Alberta": "America/Edmonton", "Manitoba": "America/Winnipeg"},
    **{"Saskatchewan": "America/Regina", "New Brunswick": "America/Moncton"},
    **{"Nova Scotia/Prince Edward Island": "America/Halifax"},
    # Area codes of which libphonenumber names the city.
    **dict.fromkeys(["New York, NY", "Philadelphia, PA"], EASTERN),
    **{"Chicago, IL": CENTRAL, "Los Angeles, CA": PACIFIC},
}
SAO_PAULO, MEXICO_CITY = "America/Sao_Paulo", "America/Mexico_City"
AREA_CODES = {
    # Area codes that lie in one zone of a state that has two, and those whose state libphonenumber does not name. An
    # overlay lies where what it overlays lies: 448 with 850 in both of Florida's zones.
    "1": dict.fromkeys("239 305 321 324 352 386 407 561 645 656 689 727 728 754 772 786 813 863 904 941 954".split(), EASTERN)
    | dict.fromkeys("260 317 463 765 502 859 865".split(), EASTERN)
    | dict.fromkeys("231 248 269 313 517 586 616 734 810 947 989".split(), EASTERN)
    | dict.fromkeys("203 718".split(), EASTERN)
    | dict.fromkeys("615 629 731 901 316 913 402 531".split(), CENTRAL)
    | dict.fromkeys("210 214 254 281 325 346 361 409 430 469 512 682 713 726 737 806 817 830 832".split(), CENTRAL)
    | dict.fromkeys("903 936 940 945 956 972 979".split(), CENTRAL)
    | dict.fromkeys("480 520 602 623".split(), PHOENIX)
    | dict.fromkeys("702 725 503 971 310".split(), PACIFIC)
    | dict.fromkeys("226 249 263 273 289 343 354 365 382 416 437 438 450 468 514 519".split(), TORONTO)
    | dict.fromkeys("548 579 613 647 683 705 742 753 819 873 905 942".split(), TORONTO)
    | {"604": "America/Vancouver"},
    # Anatel's area codes by state. Left out: 81 (Recife, and Fernando de Noronha an hour ahead) and 97 (Amazonas, whose
    # south-west is an hour behind).
    "55": {code: SAO_PAULO for code in ("1", "2", "3", "4", "51", "53", "54", "55", "61", "62", "63", "64")}
    | {code: "America/Bahia" for code in ("71", "73", "74", "75", "77")}
    | {"65": "America/Cuiaba", "66": "America/Cuiaba", "67": "America/Campo_Grande"}
    | {"68": "America/Rio_Branco", "69": "America/Porto_Velho", "79": "America/Maceio", "82": "America/Maceio"}
    | {"83": "America/Fortaleza", "84": "America/Fortaleza", "85": "America/Fortaleza", "86": "America/Fortaleza"}
    | {"87": "America/Recife", "88": "America/Fortaleza", "89": "America/Fortaleza"}
    | {"91": "America/Belem", "93": "America/Santarem", "94": "America/Belem", "96": "America/Belem"}
    | {"92": "America/Manaus", "95": "America/Boa_Vista", "98": "America/Fortaleza", "99": "America/Fortaleza"},
    # The large cities, and the leading digits of the centre, where no border town and no coast has a time of its own.
    "52": {code: MEXICO_CITY for code in ("2", "33", "4", "55", "56", "7", "951", "961", "993")}
    | {"81": "America/Monterrey", "614": "America/Chihuahua", "656": "America/Ciudad_Juarez"}
    | {"662": "America/Hermosillo", "664": "America/Tijuana", "686": "America/Tijuana"}
    | {"667": "America/Mazatlan", "669": "America/Mazatlan", "999": "America/Merida"}
    | {code: "America/Cancun" for code in ("983", "984", "987", "998")},
    # Kazakhstan's part of a code shared with Russia.
    "7": {"6": "Asia/Almaty", "7": "Asia/Almaty"},
}

files = resources.files("tzdata") / "zoneinfo"
zones_of_region = {}
for line in (files / "zone.tab").read_text().splitlines():
    if line and not line.startswith("#"):
        region, _, zone, *_ = line.split("\t")
        zones_of_region.setdefault(region, []).append(zone)
zones_of_region |= {region: [zone] for region, zone in OFFICIAL.items()}

hours = [
    datetime(FIRST_YEAR, 1, 1, tzinfo=timezone.utc) + timedelta(hours=n)
    for n in range((LAST_YEAR - FIRST_YEAR + 1) * 8766)
]
times = {}


def time_of(zone):
    """When which offset begins."""
    if zone not in times:
        info, offset, changes = ZoneInfo(zone), None, []
        for hour in hours:
            now = hour.astimezone(info).utcoffset()
            if now != offset:
                changes.append((hour, now))
                offset = now
        times[zone] = tuple(changes)
    return times[zone]


def one(zones):
    """The first zone where all keep the same time. zone.tab names the most populous first."""
    return zones[0] if zones and len({time_of(zone) for zone in zones}) == 1 else None


def zone_of_area_code(code):
    """The zone of a North American area code by its state or country."""
    region = phonenumbers.region_code_for_number(phonenumbers.parse(f"+1{code}2345678"))
    if region in ("US", "CA"):
        return STATES.get(GEOCODE_DATA.get(f"1{code}", {}).get("en"))
    return one(zones_of_region.get(region, []))


table = {}
for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
    regions = [region for region in phonenumbers.region_codes_for_country_code(code) if region != "001"]
    table[str(code)] = one([zone for region in regions for zone in zones_of_region.get(region, [])])
for code in range(200, 1000):
    table[f"1{code}"] = zone_of_area_code(code)
for country, codes in AREA_CODES.items():
    assert table[country] is None, country
    for code, zone in codes.items():
        assert table.get(f"{country}{code}") is None, code
        table[f"{country}{code}"] = zone
rows = {prefix: zone for prefix, zone in sorted(table.items()) if zone}

print("# First digits of phone numbers that lie in one time zone, and the zone. No row begins with another.")
print("# Made by zones.py; not edited by hand.")
print(f"# From libphonenumber {phonenumbers.__version__} (Apache-2.0) and tz {tzdata.IANA_VERSION} (public domain).")
for prefix, zone in rows.items():
    print(f"{prefix}\t{zone}")
print(f"{len(rows)} rows", file=sys.stderr)
