"""What a listing is besides its price: numbers of registers, address, head, staff. Invented, and always the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from devstack.upstream.listings import Listing
from devstack.upstream.walk import seeded

CITIES = (
    ("New York", "NY", "10001", "212"),
    ("San Francisco", "CA", "94105", "415"),
    ("Austin", "TX", "78701", "512"),
    ("Seattle", "WA", "98101", "206"),
    ("Chicago", "IL", "60601", "312"),
    ("Boston", "MA", "02108", "617"),
    ("Atlanta", "GA", "30303", "404"),
    ("Denver", "CO", "80202", "303"),
)
STREETS = ("Main Street", "Market Street", "Park Avenue", "Harbor Road", "Innovation Way", "Liberty Plaza")
FIRST_NAMES = ("Alex", "Dana", "Jordan", "Morgan", "Robin", "Sam", "Taylor", "Chris")
LAST_NAMES = ("Archer", "Baker", "Carver", "Dyer", "Fletcher", "Mason", "Turner", "Weaver")
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Particulars:
    """The texts and long-term figures of a profile."""

    cik: str
    cusip: str
    isin: str
    ceo: str
    employees: str
    phone: str
    address: str
    city: str
    state: str
    zip: str
    website: str
    description: str
    listed_on: date
    beta: float
    dividend_per_share: float
    """A year's, 0 for those that pay none."""


def particulars(listing: Listing) -> Particulars:
    """Return the particulars of a listing."""
    rng = seeded(listing.symbol, "particulars")
    city, state, postcode, area = rng.choice(CITIES)
    cusip = _cusip("".join(rng.choice("0123456789") for _ in range(8)))
    staff = int((listing.shares or 0) * listing.price / rng.uniform(5e6, 30e6)) + rng.randrange(20, 900)
    pays = listing.kind in {"stock", "etf"} and rng.random() < 0.7  # noqa: PLR2004
    return Particulars(
        cik=f"{rng.randrange(1_000, 2_000_000):010d}",
        cusip=cusip,
        isin=_isin((listing.country or "US") + cusip),
        ceo=f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}",
        employees=str(staff // 10 * 10),
        phone=f"({area}) 555-{rng.randrange(100, 200):04d}",
        address=f"{rng.randrange(1, 9_000)} {rng.choice(STREETS)}",
        city=city,
        state=state,
        zip=postcode,
        website=f"https://{listing.symbol.lower().replace('.', '-').strip('^')}.example.com",
        description=_description(listing),
        listed_on=date(1972, 1, 3) + timedelta(days=rng.randrange(17_000)),
        beta=round(rng.uniform(0.3, 2.1), 3),
        dividend_per_share=round(listing.price * rng.uniform(0.004, 0.035), 2) if pays else 0.0,
    )


def _description(listing: Listing) -> str:
    trade = f"{listing.industry} business in the {listing.sector} sector"
    sentences = (
        f"{listing.name} stands in this simulation for a {trade}.",
        "It develops, makes and sells what its customers ask for, directly, through partners and over the Internet.",
        "Its revenue comes from products, from services and from licences, in proportions that change every year;",
        "its costs are those of people, of material, of research and of buildings.",
        "It serves consumers, small and large companies and public bodies on several continents, competes with others",
        f"that do the same, and is exposed to the weather of the {listing.industry} trade.",
        f"Its shares are traded on {listing.exchange.name} under the symbol {listing.symbol}.",
        "Nothing in this text describes the real enterprise of that name: it is as long as descriptions usually are,",
        "so that answers have a realistic size, and it never changes.",
    )
    return " ".join(sentences)


def _cusip(body: str) -> str:
    """Append the check digit: values, every second one doubled, summed by digits."""
    doubled = (ALPHABET.index(char) * (1 + index % 2) for index, char in enumerate(body))
    return f"{body}{-sum(value // 10 + value % 10 for value in doubled) % 10}"


def _isin(body: str) -> str:
    """Append the check digit: letters as two digits each, every second digit from the right doubled."""
    digits = "".join(str(ALPHABET.index(char)) for char in body)
    doubled = (int(digit) * (2 - index % 2) for index, digit in enumerate(reversed(digits)))
    return f"{body}{-sum(value // 10 + value % 10 for value in doubled) % 10}"
