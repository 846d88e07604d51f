"""Where the library's map of numbers and time zones is wrong, or surer than it can be.

Found by comparing, for phonenumbers 9.0.43 and IANA 2026f, the map (``phonenumbers.tzdata``) with the
library's own names of places (``phonenumbers.geodata``): the state or province of each with the zone that
IANA's ``zone.tab`` gives it. Compared was every prefix of the countries that have more than one clock: +1,
+7, +34, +351, +380, +52, +55, +56, +593, +61, +62, +64, +675, +686, +689, +691, +243, +299, +86 and +976.
Exchanges of North America were compared with the town itself, since a state may have two clocks.
What is given here goes for the whole prefix; in doubt it is more than one zone, and the hours are those that
all have in common.
"""

from __future__ import annotations

_BRAZIL = "America/Sao_Paulo"
_NORTHERN_CANADA = (
    "America/Whitehorse",
    "America/Inuvik",
    "America/Edmonton",
    "America/Cambridge_Bay",
    "America/Rankin_Inlet",
    "America/Resolute",
    "America/Iqaluit",
    "America/Atikokan",
)
_BOTH_SIDES_OF_BC = ("America/Vancouver", "America/Edmonton")
_TEXAN_BORDER = ("America/Monterrey", "America/Matamoros")

CORRECTIONS: dict[str, tuple[str, ...]] = {
    # United States: area codes laid over others, which have the clocks of these.
    "1364": ("America/New_York", "America/Chicago"),  # over 270, Kentucky; the map has New York's alone
    "1448": ("America/New_York", "America/Chicago"),  # over 850, Florida; the same
    "1930": ("America/New_York", "America/Chicago"),  # over 812, Indiana; the same
    "1458": ("America/Los_Angeles", "America/Boise"),  # over 541, Oregon; the map has the first alone
    # Exchanges whose town has another clock than the map says, or is at the border of two.
    **{f"1850{local}": ("America/New_York",) for local in (227, 229)},  # Port St. Joe; the map has Chicago
    **{f"1850{local}": ("America/New_York", "America/Chicago") for local in (431, 681)},  # Tallahassee
    "1812427": ("America/New_York",),  # Vevay; the map has Chicago
    "1812478": ("America/New_York", "America/Chicago"),  # Terre Haute, as its other exchanges
    "1907581": ("America/Anchorage",),  # Unalaska; the map has Honolulu
    "1605223": ("America/Chicago", "America/Denver"),  # Fort Pierre, across the river from Pierre
    "1701854": ("America/Chicago", "America/Denver"),  # Fort Yates, at the border of both
    "1208319": ("America/Boise",),  # Boise, as its other exchanges
    "1808424": ("Pacific/Honolulu", "Pacific/Wake"),  # Wake Island, of which the map has only Honolulu
    "1689": ("America/New_York",),  # over 407, Orlando; the map has Chicago
    # Canada.
    # These four lie over the whole of British Columbia, and its east has Alberta's clocks.
    "1236": _BOTH_SIDES_OF_BC,
    "1257": _BOTH_SIDES_OF_BC,
    "1672": _BOTH_SIDES_OF_BC,
    "1778": _BOTH_SIDES_OF_BC,
    # The northeast of British Columbia, and Creston: they are an hour behind Alberta; the map has Edmonton.
    **{f"1250{local}": ("America/Dawson_Creek",) for local in (242, 262, 428, 774, 782, 785, 787, 788)},
    # Over 418, eastern Quebec, of which the Magdalen Islands are an hour ahead; the map has Toronto.
    "1367": ("America/Toronto", "America/Halifax"),
    "1581": ("America/Toronto", "America/Halifax"),
    # Over 306, Saskatchewan; the map has Winnipeg.
    "1474": ("America/Regina",),
    # Three territories; the map has Fort Nelson, which is in none of them.
    "1867": _NORTHERN_CANADA,
    **{f"1867{local}": ("America/Whitehorse",) for local in (393, 456, 536, 633, 667, 668, 993)},
    **{f"1867{local}": ("America/Inuvik",) for local in (669, 695, 766, 777, 872, 873, 874, 920)},
    "1867645": ("America/Rankin_Inlet",),
    "1867979": ("America/Iqaluit",),
    # Over 709, Newfoundland and Labrador; the map has Puerto Rico.
    "1879": ("America/St_Johns", "America/Goose_Bay"),
    # Russia.
    "740": ("Europe/Kaliningrad",),  # the map has Bucharest
    "7411": ("Asia/Yakutsk", "Asia/Ust-Nera", "Asia/Srednekolymsk"),  # Yakutia has three clocks
    "7840": ("Europe/Moscow",),  # Abkhazia; the map has Bucharest as well
    "7845": ("Europe/Saratov",),  # an hour ahead of Moscow since 2016
    # Spain: 827 lies over 927, Cáceres; the map has the Canary Islands.
    "34827": ("Europe/Madrid",),
    # Ukraine: the codes of Crimea and Sevastopol; the map has Kyiv.
    "38065": ("Europe/Kyiv", "Europe/Simferopol"),
    "38069": ("Europe/Kyiv", "Europe/Simferopol"),
    # Turkey: landlines and mobiles of Northern Cyprus, which has the clocks of Cyprus.
    "90392": ("Asia/Famagusta", "Europe/Istanbul"),
    "905338": ("Asia/Famagusta", "Europe/Istanbul"),
    "905428": ("Asia/Famagusta", "Europe/Istanbul"),
    # DR Congo: Kasai and the Kivus are in the east, area 5 on both sides; the map has Kinshasa.
    "2434": ("Africa/Lubumbashi",),
    "2435": ("Africa/Kinshasa", "Africa/Lubumbashi"),
    "2436": ("Africa/Lubumbashi",),
    # Mexico: Chihuahua; the map has Mazatlan. 636 and 657 reach to the border, which keeps the clocks of El
    # Paso.
    **{
        f"52{area}": ("America/Chihuahua",)
        for area in (614, 621, 625, 627, 628, 629, 635, 639, 648, 649, 652, 659)
    },
    "52626": ("America/Chihuahua", "America/Ojinaga"),
    "52636": ("America/Chihuahua", "America/Ciudad_Juarez"),
    "52657": ("America/Chihuahua", "America/Ciudad_Juarez"),
    "52663": ("America/Tijuana",),  # over 664; the map has Mexico City
    # Mexico: towns at the border with Texas, and areas that reach to it; the map has Mexico City for most.
    **{f"52{area}": ("America/Matamoros",) for area in (867, 868, 877, 878, 894, 897, 899)},
    **{f"52{area}": _TEXAN_BORDER for area in (826, 862, 864, 869, 872, 873, 891, 892)},
    "52997": ("America/Merida", "America/Cancun"),  # Oxkutzcab, at the border with Quintana Roo
    # Brazil: states on Brasília's clock that the map gives to Manaus, and the other way round; Recife, of
    # which it gives much to Noronha, which has the same area code; the west of Amazonas.
    "5555": (_BRAZIL,),
    "5567": ("America/Campo_Grande",),
    "5569": ("America/Porto_Velho",),
    "5581": ("America/Recife", "America/Noronha"),
    "5591": ("America/Belem",),
    "5593": ("America/Santarem",),
    "5594": ("America/Belem",),
    "5596": ("America/Belem",),
    "5597": ("America/Manaus", "America/Eirunepe"),
    "5598": ("America/Fortaleza",),
    "5599": ("America/Fortaleza",),
    # Chile: mobiles, of which the library does not know that they are; Easter Island has the area code of
    # Valparaíso; Magallanes and Aysén do not change their clocks.
    "569": ("America/Santiago", "America/Coyhaique", "America/Punta_Arenas", "Pacific/Easter"),
    "5632": ("America/Santiago", "Pacific/Easter"),
    "5661": ("America/Punta_Arenas",),
    "5667": ("America/Coyhaique",),
    # Ecuador: Galápagos has the area code of Manabí.
    "5935": ("America/Guayaquil", "Pacific/Galapagos"),
    # Australia: 07 reaches into New South Wales, and the map gives most of Queensland to Sydney; of 08 it
    # knows Adelaide and Perth alone.
    "617": ("Australia/Brisbane", "Australia/Sydney"),
    "6173": ("Australia/Brisbane",),
    "618": ("Australia/Adelaide", "Australia/Darwin", "Australia/Eucla", "Australia/Perth"),
    # Indonesia: Tamiang Layang has Jakarta's clock, and Tanjung Makassar's; the Moluccas and Papua have one.
    "62526": ("Asia/Jakarta", "Asia/Makassar"),
    "629": ("Asia/Jayapura",),
    # New Zealand: Ashburton and Akaroa share a prefix with the Chatham Islands, which alone the map has.
    "64330": ("Pacific/Auckland", "Pacific/Chatham"),
    # Australian bases in Antarctica, in the code of Norfolk Island, which alone the map has.
    "67210": ("Antarctica/Davis", "Pacific/Norfolk"),
    "67211": ("Antarctica/Mawson", "Pacific/Norfolk"),
    "67212": ("Antarctica/Casey", "Pacific/Norfolk"),
    "67213": ("Antarctica/Macquarie", "Pacific/Norfolk"),
    # Papua New Guinea and French Polynesia: no area codes that the library could tell islands by.
    "675": ("Pacific/Port_Moresby", "Pacific/Bougainville"),
    "6894": ("Pacific/Tahiti", "Pacific/Marquesas", "Pacific/Gambier"),
    # Micronesia: mobiles, of which the library does not know that they are.
    "6919": ("Pacific/Chuuk", "Pacific/Pohnpei", "Pacific/Kosrae"),
    # China: Xinjiang, where both clocks are in use.
    "8690": ("Asia/Shanghai", "Asia/Urumqi"),
    "8699": ("Asia/Shanghai", "Asia/Urumqi"),
    # Mongolia: three provinces of these areas are an hour behind the rest; the map has all of them behind.
    "97614": ("Asia/Hovd", "Asia/Ulaanbaatar"),
    "97624": ("Asia/Hovd", "Asia/Ulaanbaatar"),
}
