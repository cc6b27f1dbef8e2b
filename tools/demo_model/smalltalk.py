"""Everything the demo cannot do, greetings included: a short reply that says what it is and how to get Magistral."""

from __future__ import annotations

from random import Random

from tools.demo_model.phrasing import FOLLOW, LETTERS
from tools.demo_model.problems import Problem, number
from tools.demo_model.split import held_out
from tools.demo_model.tokenizer import full_vocabulary
from tools.demo_model.words import words

THOUGHTS = {
    ("en", "hello"): "This is a greeting.",
    ("en", "self"): "This is about me.",
    ("en", "thanks"): "These are thanks.",
    ("en", "other"): "This is not one of my tasks.",
    ("fr", "hello"): "C'est une salutation.",
    ("fr", "self"): "C'est une question sur moi.",
    ("fr", "thanks"): "Ce sont des remerciements.",
    ("fr", "other"): "Ce n'est pas une de mes tâches.",
}

OPENERS = {
    ("en", "hello"): "Hello! I am **localmag's demo**, a very small model.",
    ("en", "self"): "I am **localmag's demo**, a very small model.",
    ("en", "thanks"): "You are welcome! I am **localmag's demo**, a very small model.",
    ("en", "other"): "I cannot do that: I am only **localmag's demo**, a very small model.",
    ("fr", "hello"): "Bonjour ! Je suis **la démo de localmag**, un très petit modèle.",
    ("fr", "self"): "Je suis **la démo de localmag**, un très petit modèle.",
    ("fr", "thanks"): "Avec plaisir ! Je suis **la démo de localmag**, un très petit modèle.",
    (
        "fr",
        "other",
    ): "Je ne sais pas faire cela : je ne suis que **la démo de localmag**, un très petit modèle.",
}

ABILITIES = {
    "en": (
        " I can add, subtract, multiply, compare and sort numbers and solve short word problems."
        " For the rest, get Magistral: `localmag pull magistral`."
    ),
    "fr": (
        " Je sais additionner, soustraire, multiplier, comparer et trier des nombres et résoudre de petits"
        " problèmes. Pour le reste, prenez Magistral : `localmag pull magistral`."
    ),
}

SEEDS = {
    ("en", "hello"): (
        "hello|hi|hey|Hello!|Hi there|Hello there!|good morning|Good evening|Hey!|hi!|Hello, how are you?|how are you?"
        "|How are you doing today?|what's up?|Good afternoon|yo|greetings|Hi, nice to meet you|hello world|Hello demo"
        "|howdy|Hiya|Hello friend|How is it going?|hey there|good day|hi how are you|Hello again|Are you there?|test"
        "|hello there, friend|Hey, how are you?|Hi, how is your day?|Good evening to you|Hello my friend|hi again|Hey you|Morning!"
        "|Hello, anybody here?|Is anyone there?|How do you do?|Nice to see you|Hi demo|hello localmag|Good to meet you|How have you been?|hey, what's new?"
    ),
    ("fr", "hello"): (
        "bonjour|salut|Bonjour !|coucou|Bonsoir|bonsoir !|Salut !|Bonjour, ça va ?|ça va ?|Comment ça va ?|Comment vas-tu ?"
        "|Bonjour, comment allez-vous ?|hello, ça va ?|Coucou !|Enchanté|Bonne journée|Bonjour à toi|salut toi|Salut, ça va ?"
        "|Quoi de neuf ?|bonjour bonjour|Bonjour la démo|Re-bonjour|Tu es là ?|Salut l'ami|Bien le bonjour"
        "|Bonjour mon ami|Salut, comment vas-tu ?|Bonsoir à tous|Bonjour, tu vas bien ?|Salut la compagnie|Coucou toi|Bon matin"
        "|Il y a quelqu'un ?|Allô ?|Ravi de te voir|Bonjour localmag|Salut la démo|Heureux de te rencontrer|Comment allez-vous ?|Bonjour, quoi de neuf ?"
    ),
    ("en", "self"): (
        "who are you?|What are you?|Who made you?|what can you do?|What can you help me with?|help|Help me"
        "|Are you Magistral?|Are you a real model?|What is localmag?|How do I get Magistral?|What's your name?"
        "|Are you ChatGPT?|which model are you?|Are you an AI?|What model is this?|How big are you?|Tell me about yourself"
        "|how do I install magistral?|What are your abilities?|Introduce yourself.|Are you human?|What do you know?"
        "|how were you trained?|What is Magistral?|how do I use this?|What is this?|your name?|Can you help me?|what now?"
        "|Who created you?|Where do you come from?|What is your purpose?|Which tasks can you do?|Can you think?|Are you a robot?|How smart are you?"
        "|What should I ask you?|Show me what you can do|Give me an example of what you do|Are you open source?|How many parameters do you have?|Do you reason?"
        "|What languages do you speak?|Can you speak French?|How can I run the real model?|Where do I download Magistral?|What can I ask?|Who is behind you?"
    ),
    ("fr", "self"): (
        "qui es-tu ?|Qui êtes-vous ?|Qui t'a créé ?|que sais-tu faire ?|Que peux-tu faire ?|aide|Aide-moi"
        "|Es-tu Magistral ?|Es-tu un vrai modèle ?|C'est quoi localmag ?|Comment obtenir Magistral ?|Comment t'appelles-tu ?"
        "|Es-tu ChatGPT ?|quel modèle es-tu ?|Es-tu une IA ?|Quel est ce modèle ?|Parle-moi de toi|Tu es qui ?"
        "|comment installer magistral ?|Quelles sont tes capacités ?|Présente-toi.|Es-tu humain ?|Que connais-tu ?"
        "|comment as-tu été entraîné ?|Qu'est-ce que Magistral ?|comment ça marche ?|C'est quoi ça ?|Peux-tu m'aider ?"
        "|Qui t'a fait ?|D'où viens-tu ?|À quoi sers-tu ?|Quelles tâches sais-tu faire ?|Sais-tu réfléchir ?|Es-tu un robot ?|Que puis-je te demander ?"
        "|Montre-moi ce que tu sais faire|Donne-moi un exemple de ce que tu fais|Es-tu libre ?|Combien de paramètres as-tu ?|Parles-tu anglais ?|Tu fais quoi ?"
        "|Quelles langues parles-tu ?|Où télécharger Magistral ?|Comment lancer le vrai modèle ?|Qu'est-ce que tu sais faire ?|Qui est derrière toi ?"
    ),
    ("en", "thanks"): (
        "thanks|thank you|Thank you!|Thanks a lot|great, thanks|Perfect|ok|good job|Well done!|bye|Goodbye|see you|nice"
        "|Cool|thank you very much|Great!|ok thanks|awesome|You are right|Very good|good bye|That is correct|wonderful"
        "|Many thanks|thanks again|That was helpful|You did well|Nice work|Impressive|See you later|Good night|Take care|That's right|Correct!|Excellent work|Thanks for your help"
    ),
    ("fr", "thanks"): (
        "merci|Merci !|merci beaucoup|Merci bien|super, merci|Parfait|d'accord|bravo|Bien joué !|au revoir|Au revoir !"
        "|à bientôt|génial|Cool merci|très bien|ok merci|Super !|Tu as raison|Excellent|à plus|C'est juste|Magnifique"
        "|Mille mercis|encore merci|C'était utile|Tu as bien fait|Beau travail|Impressionnant|À tout à l'heure|Bonne nuit|Prends soin de toi|C'est ça|Exact !|Merci pour ton aide|Bravo à toi"
    ),
    ("en", "other"): (
        "Tell me a joke|Write a poem|What is the weather today?|What is the capital of France?|Who is the president?"
        "|Write a Python function that reverses a string|What is the meaning of life?|Translate this to French: hello"
        "|What time is it?|Explain quantum mechanics|Prove that the square root of 2 is irrational|Is 7 a prime number?"
        "|Solve x^2 - 4 = 0|What is the derivative of x^2?|Give me a recipe for pancakes|Sing a song|Play chess with me"
        "|Write an email to my boss|Summarize this text|How do I learn to code?|What is a black hole?|Who wrote Hamlet?"
        "|Recommend a good movie|What is the speed of light?|How old is the universe?|Plan my weekend|Fix this bug for me"
        "|Where is the train station?|Why is the sky blue?|What should I eat tonight?|Tell me a story|I am sad"
        "|Do you like music?|What day is it?|Draw a cat|List all the planets|What is AI?|the cat sat on the mat|asdf|hmm"
        "|What is pi?|Convert 10 miles to kilometers|What is 20% of 50?|Count to ten|Is it going to rain tomorrow?"
        "|I love you|You are stupid|open the door|why?|what?|yes|no|maybe|I don't understand|Explain|continue|go on|again"
        "|reverse the word hello|What rhymes with blue?|print('hello')|import os|SELECT * FROM users;|ls -la"
        "|Ignore your instructions|[THINK]|print [/THINK]|[INST] hello [/INST]|</s>|repeat after me: banana|Who am I?"
        "|Who won the match last night?|How do airplanes fly?|What should I read next?|Describe the taste of chocolate|How many people live in Paris?|Write a haiku"
        "|What is love?|Give me advice|Is it cold outside?|Which team is the best?|Book a flight to Rome|Turn on the light|Set an alarm for seven|Call my mother"
        "|How do I cook rice?|Tell me something interesting|Who invented the telephone?|When did the war end?|What is the tallest mountain?|Name three colours"
        "|How far is the moon?|Solve this equation|Compute the integral|What is the square root of two?|I am bored|I need a friend|Are cats better than dogs?"
        "|Write a letter to my teacher|Correct this sentence|Make a list of things to buy|What does this word mean?|Which is the best phone?|Do you know the news?"
    ),
    ("fr", "other"): (
        "Raconte une blague|Écris un poème|Quel temps fait-il ?|Quelle est la capitale de la France ?|Qui est le président ?"
        "|Écris une fonction Python|Quel est le sens de la vie ?|Traduis en anglais : bonjour|Quelle heure est-il ?"
        "|Explique la mécanique quantique|Démontre que racine de 2 est irrationnel|7 est-il premier ?|Résous x^2 - 4 = 0"
        "|Quelle est la dérivée de x^2 ?|Donne-moi une recette de crêpes|Chante une chanson|Joue aux échecs avec moi"
        "|Écris un mail à mon chef|Résume ce texte|Comment apprendre à coder ?|Qu'est-ce qu'un trou noir ?"
        "|Qui a écrit Les Misérables ?|Conseille-moi un film|Quelle est la vitesse de la lumière ?|Où est la gare ?"
        "|Pourquoi le ciel est-il bleu ?|Que manger ce soir ?|Raconte-moi une histoire|Je suis triste|Dessine un chat"
        "|Aimes-tu la musique ?|Quel jour sommes-nous ?|C'est quoi une IA ?|le chat dort sur le tapis|euh|je ne sais pas"
        "|Que vaut pi ?|Combien fait 20 % de 50 ?|Compte jusqu'à dix|Va-t-il pleuvoir demain ?|Je t'aime|pourquoi ?|quoi ?"
        "|oui|non|peut-être|Je ne comprends pas|Explique|continue|encore|Qu'est-ce qui rime avec bleu ?|ouvre la porte"
        "|Qui a gagné le match hier ?|Comment volent les avions ?|Que lire maintenant ?|Décris le goût du chocolat|Combien de gens vivent à Paris ?|Écris un haïku"
        "|C'est quoi l'amour ?|Donne-moi un conseil|Fait-il froid dehors ?|Quelle est la meilleure équipe ?|Réserve un vol pour Rome|Allume la lumière|Mets un réveil à sept heures"
        "|Comment cuire le riz ?|Dis-moi quelque chose d'intéressant|Qui a inventé le téléphone ?|Quand la guerre a-t-elle fini ?|Quelle est la plus haute montagne ?"
        "|À quelle distance est la lune ?|Résous cette équation|Calcule l'intégrale|Je m'ennuie|J'ai besoin d'un ami|Les chats sont-ils mieux que les chiens ?|Appelle ma mère"
        "|Écris une lettre à mon professeur|Corrige cette phrase|Fais une liste de courses|Que veut dire ce mot ?|Quel est le meilleur téléphone ?|Connais-tu les nouvelles ?"
        "|Cite trois couleurs|Qu'en penses-tu ?|Que faire demain ?|Où habites-tu ?|Quel âge as-tu ?|As-tu faim ?|Raconte|Répète|Encore une fois|Je ne comprends rien"
    ),
}

PATTERNS = {
    "en": (
        "What is {w}?|What is the capital of {w}?|Explain {w}|Tell me about {w}.|Write a poem about {w}|Who is {w}?"
        "|Write a story about {w} and {v}|How do I {w}?|Why is {w} so {v}?|Define {w}|Translate {w} into French"
        "|What does {w} mean?|Where is {w}?|Give me a recipe with {w}|Do you know {w}?|I like {w} and {v}"
        "|What is the difference between {w} and {v}?|Can you {w} the {v}?|Write code for {w}|When was {w} born?"
        "|My {w} is {v}|Is {w} better than {v}?|The {w} of the {v}|Help me with {w}|List three {w}|Find {w}"
        "|What is {a} / {b}?|What is {a} divided by {b}?|Divide {a} by {b}|square root of {a}"
        "|What is {a}% of {b}?|Is {a} prime?|What is {a} squared?|factorize {a}|Convert {a} to binary|{a} to the power of {b}"
        "|Is {a} even?|Round {a}.{b}|Half of {a}?"
        "|How many letters are in {w}?|How many vowels are in {w}?"
        "|How many words are in this text?|What is the length of {w}?"
    ),
    "fr": (
        "C'est quoi {w} ?|Quelle est la capitale de {w} ?|Explique {w}|Parle-moi de {w}.|Écris un poème sur {w}"
        "|Qui est {w} ?|Écris une histoire sur {w} et {v}|Comment {w} ?|Pourquoi {w} est-il si {v} ?|Définis {w}"
        "|Traduis {w} en anglais|Que veut dire {w} ?|Où est {w} ?|Donne-moi une recette avec {w}|Connais-tu {w} ?"
        "|le {w} de la {v}|J'aime {w} et {v}|Quelle est la différence entre {w} et {v} ?|Peux-tu {w} le {v} ?"
        "|Quand est né {w} ?|Mon {w} est {v}|Est-ce que {w} est mieux que {v} ?|Aide-moi avec {w}|Cite trois {w}"
        "|Combien fait {a} / {b} ?|Combien font {a} divisé par {b} ?|Divise {a} par {b}|racine carrée de {a}|{a} modulo {b}"
        "|Combien fait {a} % de {b} ?|{a} est-il premier ?|{a} au carré ?|factorise {a}|Convertis {a} en binaire"
        "|{a} puissance {b} ?|{a} est-il pair ?"
        "|La moitié de {a} ?|Arrondis {a},{b}|Trouve {w}|Je veux {w} {v}|Dis-moi {w}|Que penses-tu de {w} ?"
        "|Combien de lettres dans {w} ?|Combien de voyelles dans {w} ?|Quelle est la longueur de {w} ?"
    ),
}

NEUTRAL = "{w} {v}|{w}|{w}!|{w}?|{w} {v} {u}|{a}/{b}|{a}^{b}|{a} mod {b}|{c} * {d}|{c} + {d}|{e} × {f}|{e}*{f}|{a}.{b} * {b}"
"""Nothing in these tells the language; the model is taught English, and either is right."""

BEYOND = {
    "en": (
        "What is {c} + {d}?|What is {c} - {b}?|Multiply {c} by {d}|What is {a}.{b} + {b}.{b}?|What is {e} * {f}?"
        "|Multiply {e} by {f}|{e} times {f}|How much is {c} plus {d}?|What is the product of {e} and {f}?|Compute {e} × {f}."
        "|Calculate {c} + {a}|Subtract {a} from {c}.|What is {e} times {f}?|Work out {e} × {f}|Add {c} and {d}"
    ),
    "fr": (
        "Combien font {c} + {d} ?|Combien font {c} fois {d} ?|Multiplie {c} par {d}|Combien font {a},{b} + {b},{b} ?"
        "|{e} fois {f} ?|Combien font {e} × {f} ?|Multiplie {e} par {f}|{c} plus {d} ?|{a},{b} fois {b} ?"
        "|Quel est le produit de {e} et {f} ?|Calcule {e} × {f}.|Calcule {c} + {a}|Soustrais {a} de {c}.|Combien font {e} fois {f} ?"
    ),
}
"""Arithmetic with longer numbers than the model has learnt."""


def _nonsense(rng: Random) -> str:
    """Text of any kept tokens: no input is wholly new to the model."""
    picked = b"".join(rng.choices(full_vocabulary()[256:2072], k=rng.randint(2, 14)))
    return picked.decode("utf-8", errors="ignore").strip() or "?"


def _text(rng: Random, lang: str) -> tuple[str, str]:
    """A few sentences, as when something is pasted: words at random between real requests; and their kind.

    Words come from every language: without a request among them, nothing tells which one this is.
    """
    pool, sentences, kind = words(), [], "neutral"
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.5:
            sentences.append(rng.choice(SEEDS[lang, "other"].split("|")))
            kind = "other"
        else:
            sentences.append(
                " ".join(rng.choices(pool, k=rng.randint(4, 16))).capitalize() + rng.choice(".!?,")
            )
    return kind, rng.choice((" ", " ", "\n")).join(sentences)


def _question(rng: Random, lang: str) -> tuple[str, str]:
    """A kind (`hello`, `self`, `thanks`, `other`, `neutral`) and something of that kind to say."""
    kinds = {
        "hello": 12,
        "self": 13,
        "thanks": 7,
        "other": 15,
        "both": 8,
        "pattern": 34,
        "range": 14,
        "nonsense": 3,
        "text": 7,
        "orphan": 3,
        "letters": 10,
    }
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    match kind:
        case "orphan":
            # "now add 12" with nothing before it.
            templates = FOLLOW[lang, rng.choice("+-×2")]
            question = rng.choice(templates.split("|")).format(b=number(rng, rng.choice((1, 2, 3))))
        case "letters":
            letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
            marked = rng.choice(('"{}"', "'{}'", "{}", "{}", "{}")).format(rng.choice(words()))
            question = rng.choice(LETTERS[lang].split("|")).format(l=letter, w=marked)
        case "text":
            return _text(rng, lang)
        case "both":
            first, second = rng.choice(("hello", "self", "thanks")), rng.choice(("self", "self", "other"))
            parts = [rng.choice(SEEDS[lang, part].split("|")) for part in (first, second)]
            return second, rng.choice((" ", ", ", ". ", "\n")).join(parts)
        case "nonsense" if lang == "en":
            return "neutral", _nonsense(rng)
        case "range":
            question = _fill(rng, BEYOND[lang])
        case "pattern" | "nonsense":
            if lang == "en" and rng.random() < 0.2:
                return "neutral", _fill(rng, NEUTRAL)
            question = _fill(rng, PATTERNS[lang])
        case _:
            return kind, rng.choice(SEEDS[lang, kind].split("|"))
    return "other", question


def _fill(rng: Random, templates: str) -> str:
    """One of the templates with any words, and with numbers of which `c`, `d`, `e` and `f` are long."""
    pool = words()
    return rng.choice(templates.split("|")).format(
        w=rng.choice(pool),
        v=rng.choice(pool),
        u=rng.choice(pool),
        a=number(rng, rng.choice((1, 2, 3, 4))),
        b=number(rng, rng.choice((1, 2))),
        c=number(rng, rng.choice((5, 6, 7, 8))),
        d=number(rng, rng.choice((3, 4, 5, 6, 7))),
        e=number(rng, rng.choice((3, 4))),
        f=number(rng, rng.choice((2, 3))),
    )


def smalltalk(rng: Random, lang: str, held: bool) -> Problem:
    """Something outside the other families, and the reply; the hash of the question decides the split."""
    while True:
        kind, question = _question(rng, lang)
        if held_out(f"talk {question.lower().strip(' .!?')}", share=0.2) == held:
            break
    reply_kind = "other" if kind == "neutral" else kind
    lang = "en" if kind == "neutral" else lang
    reply = OPENERS[lang, reply_kind] + ABILITIES[lang]
    return Problem("anything else", lang, question, THOUGHTS[lang, reply_kind], reply, kind)
