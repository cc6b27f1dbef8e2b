"""Two-step word problems, put together from an opening, two events and a question.

An opening gives a first number; each event adds, takes away, or (an opening of equal groups) multiplies. The parts
combine freely, so the model has to read the verbs; numbers decide the split, as in arithmetic.
"""

from __future__ import annotations

from random import Random

from tools.demo_model.problems import ANSWER, LATEX, STEPS, Problem, apply, number, pick
from tools.demo_model.split import held_operation

NAMES = {
    "she": (
        "Léa Emma Chloé Manon Camille Sarah Inès Julie Marie Sophie Anna Alice Clara Nina Zoé Eva Lucie Laura Mia Maya "
        "Fatou Amina Yasmine Linh Olivia Grace Lily Kate Jane Mary Rosa Elena Noor Priya"
    ).split(),
    "he": (
        "Tom Paul Louis Hugo Lucas Jules Adam Nathan Max Leo Marc Pierre Jean Ali Omar Karim Sam Ben John James Peter "
        "Jack Oliver Noah Ethan David Victor Simon Antoine Théo Kenji Ivan Diego Amir"
    ).split(),
}

OBJECTS = {
    "en": (
        "apples|oranges|pears|bananas|books|marbles|stickers|coins|cards|pencils|pens|cookies|candies|eggs|balls|stamps"
        "|flowers|roses|shells|stones|toys|cars|tickets|balloons|photos|beads|buttons|cakes|nuts|lemons|chairs|plants"
        "|tomatoes|potatoes|dollars|euros|points|magazines|bottles|badges"
    ).split("|"),
    "fr": (
        "pommes|oranges|poires|bananes|livres|billes|images|pièces|cartes|crayons|stylos|biscuits|bonbons|fleurs|roses"
        "|cailloux|jouets|voitures|tickets|ballons|photos|perles|boutons|gâteaux|noix|citrons|chaises|plantes|tomates"
        "|timbres|euros|points|magazines|bouteilles|badges|fraises|cerises|figurines|coquillages|cahiers"
    ).split("|"),
}

OPENING = {
    "en": (
        "{n} has {a} {o}.|{n} had {a} {o}.|{n} owns {a} {o}.|There are {a} {o} in {n}'s bag.|{n} starts with {a} {o}."
        "|At first {n} has {a} {o}.|{n} picks {a} {o}.|{n} collects {a} {o}.|{n} counts {a} {o}.|A shop has {a} {o}."
        "|There are {a} {o} in a box.|{n} keeps {a} {o} at home.|In the morning {n} has {a} {o}."
    ),
    "fr": (
        "{n} a {a} {o}.|{n} avait {a} {o}.|{n} possède {a} {o}.|Il y a {a} {o} dans le sac de {n}."
        "|{n} commence avec {a} {o}.|Au début, {n} a {a} {o}.|{n} ramasse {a} {o}.|{n} collectionne {a} {o}."
        "|{n} compte {a} {o}.|Un magasin a {a} {o}.|Il y a {a} {o} dans une boîte.|Le matin, {n} a {a} {o}."
    ),
}

GROUPS = {
    "en": (
        "{n} buys {a} boxes of {b} {o}.|{n} has {a} bags with {b} {o} each.|There are {a} rows of {b} {o}."
        "|{n} fills {a} boxes with {b} {o} each.|{n} has {a} packs of {b} {o}.|{n} gets {b} {o} a day for {a} days."
        "|Each of {a} shelves holds {b} {o}.|{n} has {a} bags. Each bag has {b} {o}.|{n} makes {a} piles of {b} {o}."
    ),
    "fr": (
        "{n} achète {a} boîtes de {b} {o}.|{n} a {a} sacs de {b} {o} chacun.|Il y a {a} rangées de {b} {o}."
        "|{n} remplit {a} boîtes de {b} {o} chacune.|{n} a {a} paquets de {b} {o}."
        "|{n} reçoit {b} {o} par jour pendant {a} jours.|{n} a {a} sacs. Chaque sac contient {b} {o}."
        "|{a} étagères portent chacune {b} {o}.|{n} fait {a} tas de {b} {o}."
    ),
}

EVENTS = {
    ("en", "+"): (
        "{p} buys {b} more|{p} gets {b} more|{p} finds {b} more|{m} gives {o1} {b}|{p} receives {b} more|{p} wins {b}"
        "|{p} adds {b}|{p} picks {b} more|{b} more arrive|{m} brings {b} more|{p} gains {b}|{p} collects {b} others"
        "|{p} earns {b}|{p} is given {b} more"
    ),
    ("en", "-"): (
        "{p} gives away {b}|{p} gives {b} to {m}|{p} loses {b}|{p} sells {b}|{p} uses {b}|{p} throws away {b}"
        "|{p} breaks {b}|{m} takes {b}|{p} gives {b} to a friend|{p} removes {b}|{b} are lost|{p} drops {b}"
        "|{p} spends {b}|{p} lends {b} to {m}|{p} eats {b}"
    ),
    ("fr", "+"): (
        "{p} en achète {b}|{p} en achète {b} de plus|{p} en trouve {b}|{m} lui en donne {b}|{p} en reçoit {b}"
        "|{p} en gagne {b}|{p} en ajoute {b}|{p} en ramasse {b} de plus|{b} de plus arrivent|{m} en apporte {b}"
        "|{p} en récupère {b}|{p} en obtient {b} autres"
    ),
    ("fr", "-"): (
        "{p} en donne {b}|{p} en donne {b} à {m}|{p} en perd {b}|{p} en vend {b}|{p} en utilise {b}|{p} en jette {b}"
        "|{p} en casse {b}|{m} en prend {b}|{p} en offre {b} à un ami|{p} en retire {b}|{p} en dépense {b}"
        "|{p} en prête {b} à {m}|{p} en mange {b}"
    ),
}

JOINS = {
    "en": (
        ". Then {x}, and {y}. |. {x}, then {y}. |. {x}. {y}. |. {x} and {y}. |. Later {x}. After that {y}. "
    ).split("|"),
    "fr": (
        ". Puis {x}, et {y}. |. {x}, puis {y}. |. {x}. {y}. |. {x} et {y}. |. Plus tard {x}. Ensuite {y}. "
    ).split("|"),
}
SINGLE_JOINS = {
    "en": ". Then {x}. |. {x}. |. Later, {x}. ".split("|"),
    "fr": ". Puis {x}. |. {x}. |. Ensuite, {x}. ".split("|"),
}

QUESTION = {
    "en": (
        "How many {o} does {n} have now?|How many {o} are there now?|How many {o} are left?|How many does {n} have?"
        "|How many {o} does {n} have left?|How many {o} in the end?|How many are there?|What is the total?"
        "|How many {o} does {n} have in total?|How many now?|How many {o} remain?"
    ),
    "fr": (
        "Combien de {o} a {n} maintenant ?|Combien y a-t-il de {o} maintenant ?|Combien de {o} reste-t-il ?"
        "|Combien en a {n} ?|Combien de {o} {n} a-t-{q} maintenant ?|Combien de {o} à la fin ?|Combien en reste-t-il ?"
        "|Combien y en a-t-il en tout ?|Combien de {o} a {n} en tout ?|Combien cela fait-il ?|Il y en a combien ?"
    ),
}


BARE = {
    "en": "What is {e}?|{e}|{e} = ?|Compute {e}|How much is {e}?|Calculate {e}.|{e}=|What's {e}?",
    "fr": "Combien font {e} ?|{e} ?|Calcule {e}|Combien fait {e} ?|Que vaut {e} ?|Combien ça fait, {e} ?|Calcule {e}.",
}
"""A few problems come as the bare calculation, without a story."""


def _numbers(rng: Random, held: bool) -> tuple[str, int, int, int]:
    """Two operations and three numbers of the split; no amount on the way is negative."""
    while True:
        ops = rng.choice(("++", "+-", "+-", "-+", "-+", "--", "×+", "×+", "×-", "×-"))
        if ops[0] == "×":
            a, b = rng.randint(2, 9), number(rng, rng.choice((1, 2)))
        else:
            digits = rng.choice((1, 2, 2, 3))
            a, b = number(rng, digits), number(rng, rng.choice((1, digits)))
        middle = apply(ops[0], a, b)
        c = number(rng, rng.choice((1, 2, max(1, len(str(abs(middle)))))))
        if b < 1 or c < 1 or a < 2 or middle < 0 or apply(ops[1], middle, c) < 0:
            continue
        if held_operation(ops[0], a, b) == held_operation(ops[1], middle, c) == held:
            return ops, a, b, c


def story(rng: Random, lang: str, held: bool) -> Problem:
    """One word problem with its two calculations."""
    ops, a, b, c = _numbers(rng, held)
    gender = rng.choice(("she", "he"))
    pronoun = {"en": gender, "fr": {"she": "elle", "he": "il"}[gender]}[lang]
    name, friend = rng.choice(NAMES[gender]), rng.choice(NAMES[rng.choice(("she", "he"))])
    subject = pronoun if rng.random() < 0.7 else name
    objects = rng.choice(OBJECTS[lang])
    common = {"n": name, "o": objects, "m": friend, "q": pronoun, "o1": {"she": "her", "he": "him"}[gender]}

    def event(op: str, amount: int) -> str:
        who = subject if rng.random() < 0.8 else name
        return pick(rng, EVENTS[lang, op]).format(p=who, b=amount, **common)

    if ops[0] == "×":
        opening = pick(rng, GROUPS[lang]).format(a=a, b=b, **common)
        middle = rng.choice(SINGLE_JOINS[lang]).format(x=event(ops[1], c))
    else:
        opening = pick(rng, OPENING[lang]).format(a=a, **common)
        middle = rng.choice(JOINS[lang]).format(x=event(ops[0], b), y=event(ops[1], c))
    text = opening.removesuffix(".") + middle
    question = ". ".join(s[:1].upper() + s[1:] for s in text.split(". ")) + pick(rng, QUESTION[lang]).format(
        **common
    )
    if rng.random() < 0.08:
        sign = rng.choice(("×", "*", "x"))
        bare = f"{a} {ops[0]} {b} {ops[1]} {c}".replace("×", sign)
        question = pick(rng, BARE[lang]).format(e=bare if rng.random() < 0.6 else bare.replace(" ", ""))
    first = apply(ops[0], a, b)
    result = apply(ops[1], first, c)
    steps = [*STEPS[ops[0]](a, b, lang), *STEPS[ops[1]](first, c, lang)]
    formula = f"{a} {LATEX[ops[0]]} {b} {LATEX[ops[1]]} {c} = {result}"
    reply = ANSWER[lang].format(result, formula)
    return Problem("stories", lang, question, "\n".join(steps), reply, str(result), result)
