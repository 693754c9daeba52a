//! The vocabulary of the generated orders: enough of it that text compresses as text does.

/// First names.
pub const FIRST: &[&str] = &[
    "Ada", "Amir", "Anouk", "Bela", "Bruno", "Carla", "Chen", "Dana", "Dmitri", "Elif", "Emil", "Fatima", "Finn",
    "Greta", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kira", "Lars", "Leila", "Luca", "Maja", "Mateo", "Mina",
    "Nadia", "Nils", "Noor", "Olga", "Omar", "Paul", "Petra", "Quinn", "Rafael", "Rosa", "Samir", "Sofia", "Tariq",
    "Tilda", "Uma", "Viktor", "Wanda", "Xenia", "Yara", "Yusuf", "Zoe",
];

/// Family names.
pub const LAST: &[&str] = &[
    "Abel", "Andersen", "Bauer", "Bianchi", "Castro", "Cohen", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad",
    "Hansen", "Ito", "Jansen", "Kaya", "Keller", "Kowalski", "Lange", "Laurent", "Lopez", "Marino", "Meyer", "Moreau",
    "Nagy", "Novak", "Okafor", "Olsen", "Petrov", "Quist", "Rossi", "Sato", "Schmidt", "Silva", "Sokolov", "Tanaka",
    "Torres", "Ueda", "Vasquez", "Virtanen", "Weber", "Winter", "Yilmaz", "Zhang", "Zimmer",
];

/// Streets, without the number.
pub const STREETS: &[&str] = &[
    "Abbey Road",
    "Birch Lane",
    "Canal Street",
    "Castle Hill",
    "Cherry Walk",
    "Dock Road",
    "Elm Avenue",
    "Ferry Quay",
    "Garden Row",
    "Harbour Street",
    "High Street",
    "Hill View",
    "Iron Bridge",
    "King Street",
    "Lake Drive",
    "Linden Alley",
    "Market Square",
    "Meadow Way",
    "Mill Lane",
    "North Gate",
    "Oak Street",
    "Old Post Road",
    "Orchard Close",
    "Park Avenue",
    "Queen Street",
    "River Bank",
    "School Lane",
    "South Ring",
    "Station Road",
    "Sunny Side",
    "Tower Street",
    "Union Place",
    "Valley Road",
    "Vine Street",
    "West End",
    "Windmill Path",
];

/// Cities.
pub const CITIES: &[&str] = &[
    "Aarhus", "Antwerp", "Bergen", "Bologna", "Bordeaux", "Bremen", "Brno", "Cork", "Dresden", "Gdansk", "Geneva",
    "Ghent", "Graz", "Krakow", "Leeds", "Leipzig", "Lisbon", "Lyon", "Malmo", "Nantes", "Oslo", "Porto", "Riga",
    "Seville", "Split", "Tallinn", "Tampere", "Turin", "Utrecht", "Valencia", "Vienna", "Zurich",
];

/// Countries.
pub const COUNTRIES: &[&str] =
    &["AT", "BE", "CH", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "IE", "IT", "NL", "PT"];

/// Things.
pub const NOUNS: &[&str] = &[
    "apron", "basket", "blanket", "bookend", "bottle", "bowl", "box", "brush", "bucket", "cable", "candle", "carpet",
    "chair", "clock", "coat", "cup", "curtain", "cushion", "desk", "drill", "fan", "frame", "glove", "hammer", "hat",
    "hook", "jacket", "jar", "kettle", "knife", "ladder", "lamp", "mat", "mirror", "mug", "notebook", "pan", "pen",
    "pillow", "plate", "rack", "rope", "scarf", "shelf", "shirt", "spoon", "stool", "table", "tent", "towel", "tray",
    "umbrella", "vase", "wallet",
];

/// Where an order stands.
pub const STATUSES: &[&str] = &["delivered", "shipped", "paid", "packed", "new", "returned", "cancelled"];

/// What made-up words are made of.
pub const SYLLABLES: &[&str] = &[
    "ba", "ben", "cor", "da", "del", "en", "fa", "fil", "ga", "gor", "ha", "hin", "il", "ja", "kel", "lo", "lum", "ma",
    "mir", "na", "nor", "ol", "pa", "per", "qui", "ra", "ros", "sa", "sel", "ta", "tor", "ul", "va", "ver", "wa",
    "win", "ya", "zen",
];
