"""What signs, labels and notices say, and the words that names are made of.

What is drawn for one ``Split`` never coincides with what the other one says; single words and names may.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

CHARACTERS = " !\"#$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz£°€"
"""Every character a training document may show."""
_TEST_SHARE = 8
"""One text in this many is kept for the evaluation."""

GREETINGS = ("Hello", "Hi", "Hi!", "Hello!", "Who are you?", "What can you do?", "你好", "Help")
GREETING_ANSWER = "I am ixc-nano, a small demo model. Show me a sign, a form or a table and ask what it says."


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


WORDS = _listed("""
EXIT ENTRANCE OPEN CLOSED PUSH PULL STOP SLOW DANGER WARNING CAUTION NOTICE PRIVATE PUBLIC PARKING SMOKING DOGS ALLOWED
NO ENTRY KEEP OUT LEFT RIGHT UP DOWN FIRE DOOR EMERGENCY STAIRS LIFT ELEVATOR TOILET TOILETS MEN WOMEN STAFF ONLY VISITORS
RECEPTION OFFICE MEETING ROOM FLOOR GROUND LEVEL BUILDING HOUSE STREET ROAD AVENUE LANE SQUARE PLACE PARK GARDEN BRIDGE
STATION PLATFORM TRAIN BUS TRAM TAXI AIRPORT GATE TERMINAL ARRIVALS DEPARTURES TICKETS INFORMATION BAGGAGE CUSTOMS HOTEL
RESTAURANT CAFE COFFEE TEA BAR BAKERY BREAD BUTTER CAKE CHEESE MILK SUGAR SALT PEPPER FLOUR RICE PASTA SOUP SALAD PIZZA
BURGER CHICKEN BEEF FISH APPLE BANANA ORANGE LEMON CHERRY GRAPE PEACH PLUM MELON TOMATO POTATO ONION GARLIC CARROT HONEY
JAM WINE BEER WATER JUICE FRESH ORGANIC LOCAL HOT COLD SPICY SWEET SOUR LARGE SMALL MEDIUM EXTRA FREE SALE OFFER SPECIAL
PRICE TODAY NEW OLD BEST GREAT SUPER MARKET SHOP STORE BOOKS TOYS SHOES CLOTHES FLOWERS GIFTS BANK POST LIBRARY SCHOOL
MUSEUM THEATRE CINEMA GALLERY CHURCH HOSPITAL CLINIC PHARMACY DOCTOR DENTIST NURSE POLICE LAWYER BARBER SALON GYM POOL
BEACH LAKE RIVER MOUNTAIN FOREST FIELD FARM VALLEY HILL ISLAND NORTH SOUTH EAST WEST CENTRAL UPPER LOWER INNER OUTER
MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER
OCTOBER NOVEMBER DECEMBER MORNING NOON EVENING NIGHT HOURS DAYS WEEK MONTH YEAR TIME CLEAN WET PAINT FRAGILE HANDLE WITH
CARE THIS SIDE BOX CRATE PALLET SHELF ROW AISLE BIN UNIT PART ITEM CODE BATCH SERIAL NUMBER MODEL TYPE CLASS GRADE WEIGHT
SIZE LENGTH WIDTH HEIGHT COLOR RED GREEN BLUE YELLOW BLACK WHITE GREY BROWN PINK PURPLE SILVER GOLD WOOD STEEL GLASS PAPER
PLASTIC COTTON WOOL LEATHER STONE POWER VOLTAGE HIGH LOW PRESSURE HEAT LIGHT SOUND RADIO CAMERA PHONE CABLE PRINTER SERVER
NETWORK ACCESS CONTROL SYSTEM MASTER SLEEPING QUIET PLEASE THANK YOU WELCOME HELLO GOODBYE RING BELL KNOCK BEFORE AFTER
ENTER LEAVE WAIT HERE LINE QUEUE START FINISH TURN WAY ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN FIRST SECOND THIRD
LAST NEXT BACK FRONT TOP BOTTOM MAIN MUSIC ART DANCE SPORT TENNIS GOLF SKI BIKE RENTAL REPAIR SERVICE GARAGE WORKSHOP
LABORATORY KITCHEN BEDROOM BATHROOM CELLAR ATTIC BALCONY TERRACE COURT YARD DELIVERY LOADING ZONE TRUCK CAR ENGINE OIL FUEL
DIESEL PETROL ELECTRIC CHARGING POINT OF THE AND FOR TO IN ON AT BY FROM ALL ANY NOT DO USE TOUCH RUN WALK SWIM FEED BIRDS
""")
FIRST_NAMES = _listed("""
Anna Ben Clara David Emma Felix Grace Henry Ivy Jack Karen Liam Maria Noah Olivia Peter Quinn Rosa Samuel Tina Ursula Victor
Wendy Xavier Yusuf Zoe Ahmed Bella Carlos Diana Erik Fatima George Hannah Ingrid Jonas Kenji Laura Mei Nina Oscar Priya Ravi
Sofia Thomas Uma Vera Walter Yuki Alice Boris Chen Elena Frank Helga Igor Julia Kofi Lucia Martin
""")
LAST_NAMES = _listed("""
Smith Jones Brown Taylor Wilson Davies Evans Walker White Roberts Green Hall Wood Clarke Hughes Edwards Turner Hill Moore
Cooper Ward Morris King Baker Young Allen Mitchell Phillips Lee Kelly Garcia Lopez Silva Rossi Bianchi Moreau Dubois Laurent
Weber Fischer Schmidt Keller Jansen Bakker Novak Kowalski Petrov Ivanov Tanaka Suzuki Kim Park Wang Zhang Singh Patel Khan
Okafor Mensah Haddad Nielsen Larsen Virtanen O'Brien McKay
""")
_STREETS = ("Street", "Road", "Avenue", "Lane", "Square", "Drive", "Way", "Place", "St.", "Rd.", "Ave.")
_TITLES = ("Dr.", "Mr.", "Ms.", "Mrs.", "Prof.")
_UNITS = ("kg", "g", "ml", "l", "cm", "mm", "m", "km", "V", "W", "kW", "%", "°C", "pcs", "km/h")
_PLACES = ("Room", "Gate", "Floor", "Bay", "Lot", "Unit", "No.", "Track", "Row", "Zone")
_REFERENCES = ("SN", "ID", "REF", "LOT", "Art.", "P/N")
_ONSETS = _listed("""
b c d f g h j k l m n p qu r s t v w x y z bl br ch cl cr dr fl fr gl gr pl pr sh sk sl sm sn sp st str sw th tr tw wh
""")
_VOWELS = _listed("a e i o u a e i o ai au ea ee ei ie oa oo ou ue y")
_CODAS = ("", "", "", *_listed("b ck d f g k l ll m n nd ng nk nt p r rd rk rm rn rt s sh ss st t th x z"))


CITIES = _listed("""
Berlin Paris London Rome Madrid Vienna Oslo Lisbon Athens Dublin Prague Warsaw Zurich Geneva Milan Lyon Porto Bergen Turin
Krakow Hamburg Munich Cologne Leeds Bristol Cardiff Boston Denver Dallas Austin Miami Seattle Chicago Houston Toronto Lima
Quito Bogota Santiago Havana Cairo Lagos Nairobi Accra Tunis Dakar Delhi Mumbai Seoul Tokyo Osaka Kyoto Hanoi Manila Jakarta
Sydney Perth Auckland Riga Vilnius Tallinn Helsinki Malmo Aarhus Ghent Bruges Basel Salzburg Graz
""")
COUNTRIES = _listed("""
Germany France Italy Spain Austria Norway Portugal Greece Ireland Poland Sweden Finland Denmark Belgium Canada Mexico Brazil
Chile Peru Egypt Kenya Ghana India Japan Korea Vietnam China Turkey Latvia Estonia Iceland Malta Cyprus
""")
COLOURS = _listed("Red Green Blue Yellow Black White Grey Brown Pink Purple Orange Silver Gold Navy Beige")
MONTHS = _listed("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")
DAYS = _listed("Mon Tue Wed Thu Fri Sat Sun")


class Split(StrEnum):
    """Which texts may be drawn."""

    TRAINING = "training"
    TEST = "test"


def split_of(text: str) -> Split:
    """The split a text belongs to, case and spaces aside: a hash, so that no list has to be kept."""
    folded = "".join(text.casefold().split())
    return Split.TEST if zlib.crc32(folded.encode()) % _TEST_SHARE == 0 else Split.TRAINING


def random_text(rng: np.random.Generator, split: Split, max_chars: int = 16) -> str:
    """One line for a sign or label, 2 to ``max_chars`` characters of ``CHARACTERS``, that belongs to ``split``."""
    while True:
        text = _one_text(rng)
        if 2 <= len(text) <= max_chars and split_of(text) is split:
            return text


def random_filler(rng: np.random.Generator, num_chars: int) -> str:
    """About ``num_chars`` characters of running text for dense pages, training texts only."""
    parts: list[str] = []
    while sum(map(len, parts)) + len(parts) < num_chars:
        if rng.random() < 0.1:
            parts.append("".join(pick(rng, CHARACTERS[1:]) for _ in range(rng.integers(1, 8))))
        else:
            parts.append(random_text(rng, Split.TRAINING))
    return " ".join(parts)[:num_chars].strip()


def _one_text(rng: np.random.Generator) -> str:
    kinds = (words, words, words, words, _name, street, code, _price, _price, date, clock, quantity, _pseudo, _contact)
    text = kinds[rng.integers(len(kinds))](rng)
    if rng.random() < 0.06:
        text += pick(rng, "!?.:")
    return text


def pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _cased(rng: np.random.Generator, words: list[str]) -> str:
    style = rng.random()
    if style < 0.4:
        return " ".join(words).upper()
    if style < 0.75:
        return " ".join(word.capitalize() for word in words)
    text = " ".join(words).lower()
    return text.capitalize() if style < 0.9 else text


def words(rng: np.random.Generator) -> str:
    words = [pick(rng, WORDS) for _ in range(rng.integers(1, 4))]
    text = _cased(rng, words)
    if rng.random() < 0.12:
        text = f"{text} {rng.integers(1, 200)}"
    return text


def _pseudo(rng: np.random.Generator) -> str:
    words = []
    for _ in range(rng.integers(1, 3)):
        syllables = (pick(rng, _ONSETS) + pick(rng, _VOWELS) + pick(rng, _CODAS) for _ in range(rng.integers(1, 4)))
        words.append("".join(syllables))
    return _cased(rng, words)


def _name(rng: np.random.Generator) -> str:
    first, last = pick(rng, FIRST_NAMES), pick(rng, LAST_NAMES)
    style = rng.random()
    if style < 0.2:
        text = f"{pick(rng, _TITLES)} {first[0]}. {last}"
    elif style < 0.35:
        text = f"{last}, {first}"
    elif style < 0.45:
        text = f"{last} & {pick(rng, LAST_NAMES)}"
    else:
        text = f"{first} {last}"
    return text.upper() if rng.random() < 0.2 else text


def street(rng: np.random.Generator) -> str:
    text = f"{pick(rng, LAST_NAMES if rng.random() < 0.5 else WORDS).capitalize()} {pick(rng, _STREETS)}"
    style = rng.random()
    if style < 0.35:
        text = f"{rng.integers(1, 300)} {text}"
    return text.upper() if rng.random() < 0.3 else text


def code(rng: np.random.Generator) -> str:
    letters, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"

    def take(pool: str, low: int, high: int) -> str:
        return "".join(pick(rng, pool) for _ in range(rng.integers(low, high + 1)))

    style = rng.integers(6)
    if style == 0:
        return f"{take(letters, 1, 3)}-{take(digits, 2, 5)}"
    if style == 1:
        return f"{take(letters, 2, 3)} {take(digits, 1, 4)} {take(letters, 1, 3)}"
    if style == 2:
        return take(digits, 2, 10)
    if style == 3:
        return f"{pick(rng, _PLACES)} {take(digits + 'ABC', 1, 3)}"
    if style == 4:
        return f"{pick(rng, _REFERENCES)}{pick(rng, (':', ': ', ' ', '-'))}{take(letters + digits, 3, 9)}"
    return take(letters + letters.lower() + digits, 3, 10)


def _price(rng: np.random.Generator) -> str:
    amount = f"{rng.integers(0, 300) if rng.random() < 0.8 else rng.integers(300, 20000)}.{rng.integers(100):02d}"
    style = rng.random()
    if style < 0.35:
        amount = amount[: amount.index(".")] if rng.random() < 0.3 else amount.replace(".", ",")
    currency = pick(rng, "$€£")
    price = f"{currency}{amount}" if rng.random() < 0.7 else f"{amount} {currency}"
    if rng.random() < 0.3:
        return f"{_cased(rng, [pick(rng, WORDS)])} {price}"
    return price if rng.random() < 0.9 else f"-{rng.integers(1, 20) * 5}%"


def date(rng: np.random.Generator) -> str:
    day, month, year = int(rng.integers(1, 32)), int(rng.integers(1, 13)), int(rng.integers(1950, 2040))
    names = _listed("January February March April May June July August September October November December")
    style = rng.integers(5)
    if style == 0:
        return f"{year}-{month:02d}-{day:02d}"
    if style == 1:
        return f"{day:02d}.{month:02d}.{year}"
    if style == 2:
        return f"{month}/{day}/{year}"
    if style == 3:
        return f"{day} {names[month - 1]} {year}"
    return f"{names[month - 1][:3]} {day}, {year}"


def clock(rng: np.random.Generator) -> str:
    first, second = int(rng.integers(0, 24)), int(rng.integers(0, 24))
    minute = int(rng.integers(0, 12)) * 5
    style = rng.integers(4)
    if style == 0:
        return f"{first}:{minute:02d}"
    if style == 1:
        return f"{first % 12 + 1}:{minute:02d} {pick(rng, ('AM', 'PM', 'am', 'pm'))}"
    if style == 2:
        return f"{first:02d}:00-{second:02d}:{minute:02d}"
    return f"{pick(rng, ('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'))} {first}-{second}"


def quantity(rng: np.random.Generator) -> str:
    amount = str(rng.integers(1, 1000)) if rng.random() < 0.7 else f"{rng.integers(0, 100)}.{rng.integers(10)}"
    text = f"{amount}{pick(rng, ('', ' '))}{pick(rng, _UNITS)}"
    return f"{_cased(rng, [pick(rng, WORDS)])} {text}" if rng.random() < 0.5 else text


def website(rng: np.random.Generator) -> str:
    return f"www.{pick(rng, WORDS).lower()}.{pick(rng, ('com', 'org', 'net', 'de'))}"


def email(rng: np.random.Generator) -> str:
    return f"{pick(rng, LAST_NAMES).lower().replace(chr(39), '')}@{pick(rng, WORDS).lower()}.com"


def phone(rng: np.random.Generator) -> str:
    return f"{rng.integers(100, 1000)}-{rng.integers(1000, 10000)}"


def _contact(rng: np.random.Generator) -> str:
    name, last = pick(rng, WORDS).lower(), pick(rng, LAST_NAMES).lower().replace("'", "")
    style = rng.integers(4)
    if style == 0:
        return f"www.{name}.{pick(rng, ('com', 'org', 'net', 'de'))}"
    if style == 1:
        return f"{last}@{name}.com"
    if style == 2:
        return f"+{rng.integers(1, 99)} {rng.integers(100, 1000)} {rng.integers(1000, 10000)}"
    return f"Tel. {rng.integers(100, 1000)}-{rng.integers(1000, 10000)}"
