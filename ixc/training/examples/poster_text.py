"""The words of the invented festival poster of ``poster.py``."""

STAGES = {
    "L": ("Lock Stage", "#d9482b"),
    "F": ("Fish Market", "#1b7f79"),
    "T": ("Tower Lawn", "#c98a12"),
    "Q": ("Quay 5", "#3f5fa8"),
}
DAYS = (
    (
        "Friday",
        "12 June",
        (
            ("14:00", "Q", "Opening of the tall ships", "five ships, all open until 19:00"),
            ("15:00", "F", "How to fillet a plaice", "with Ines Corvo; knives are lent"),
            ("15:30", "T", "Kites for beginners", "ages 6 and up, bring string"),
            ("16:00", "L", "Ellery Youth Brass", "marches and two film scores"),
            ("17:00", "Q", "Knots in twenty minutes", "bowline, sheet bend, clove hitch"),
            ("17:30", "F", "Chowder contest", "eleven kitchens, one ladle each"),
            ("18:30", "L", "Marrow & Vane", "folk from the outer islands"),
            ("19:30", "T", "Cinema: The Long Tide", "under the sky, subtitles, 104 min"),
            ("20:15", "L", "The Tin Lanterns", "dance band, seven players"),
            ("21:30", "Q", "Lighting of the fleet", "2,400 lanterns on 61 boats"),
            ("22:45", "L", "Night choir", "forty voices on the lock gates"),
        ),
    ),
    (
        "Saturday",
        "13 June",
        (
            ("07:00", "F", "Auction for early risers", "bid on one crate, from 8.00"),
            ("09:30", "T", "Lighthouse climb", "187 steps, every half hour"),
            ("10:00", "Q", "Regatta of home-made boats", "cardboard and tape only"),
            ("11:30", "L", "Puppets: The Drowned Bell", "35 minutes, ages 4 and up"),
            ("12:00", "T", "Noon gun with the gunner", "ear plugs at the gate"),
            ("13:30", "F", "Oysters, a lecture with tasting", "Dr. Amara Okoye, 60 seats"),
            ("15:00", "Q", "Rescue exercise", "helicopter at 15:20, mind your hat"),
            ("16:30", "L", "Quartet of the Opera House", "Dvorak, Haydn, one surprise"),
            ("18:00", "T", "Long table for a thousand", "bring a dish, take a chair"),
            ("20:00", "L", "Nadia Brisk & Locksmiths", "soul, two sets"),
            ("22:30", "Q", "Fireworks over the mole", "22 minutes; silent zone at Quay 1"),
        ),
    ),
    (
        "Sunday",
        "14 June",
        (
            ("08:00", "T", "Run around the harbour", "5 or 10 km, start at the tower"),
            ("09:30", "Q", "Blessing of the boats", "with the fishers' choir"),
            ("10:30", "F", "Pancake breakfast", "for the lifeboat fund, 4.50"),
            ("11:00", "L", "Big Band of the Fire Brigade", "swing and sirens"),
            ("12:30", "T", "Gull calling, the final", "last year's record: 103 decibels"),
            ("13:00", "Q", "Tug-of-war between tugs", "Hercules against Little Anna"),
            ("14:30", "F", "Net mending with Old Tomas", "stools for thirty"),
            ("15:00", "L", "Lin Qiaoyu, piano", "water music from four centuries"),
            ("16:30", "Q", "Parade of sail", "best seen from the east mole"),
            ("18:00", "L", "Everyone sings", "song sheets at the gate"),
            ("19:30", "T", "Raffle and farewell", "first prize: a week on Gull Island"),
        ),
    ),
)
FERRIES = (  # line, quay, first, every (minutes), last on Friday, Saturday, Sunday
    ("Old Town", "Quay 1", "06:10", "8", "01:20", "02:40", "23:30"),
    ("North Quay", "Quay 1", "06:25", "10", "00:45", "02:15", "23:10"),
    ("Airport", "Quay 3", "05:40", "15", "00:10", "01:40", "23:55"),
    ("Market", "Quay 4", "06:00", "10", "00:50", "02:20", "22:50"),
    ("Lighthouse", "Quay 4", "08:30", "20", "23:40", "01:10", "21:40"),
    ("Gull Island", "Quay 5", "09:15", "30", "23:10", "00:30", "20:30"),
)
PRACTICAL = (
    "Entry to the grounds is free. The Lock Stage asks 12 on Friday and Saturday evening and 6 at all other times; "
    "under 16 and over 70 free. Tickets at the lock house, at every ferry turnstile and on board.",
    "Drinking water at the five blue pillars. Cups carry a deposit of 2. Dogs are welcome except at the fireworks. "
    "Lost children and lost hats wait at the harbour office, door 3.",
    "Step-free ways are marked in green on the ground. Hearing loops at Lock Stage and Tower Lawn. A quiet room is "
    "open in the customs house from 10:00 to 22:00.",
)
SMALL_PRINT = (
    "Published by the Ellery Harbour Board, Ropewalk 1. Programme as of 4 May 2026; changes are chalked on the board "
    "at Quay 1. In a storm of force 8 or more the fireworks move to Sunday, 22:30. Photographs of the crowd are "
    "taken; ask for a grey ribbon if you would rather not be in them. Bicycles: 800 places behind the fish market. No"
    " cars beyond the ring road from Friday 10:00 to Monday 06:00. Poster printed on paper of sails that are no "
    "longer mended. Run no. 0417 of 2,000."
)
