"""Words: those whose letters are counted, and all others, which small talk asks about."""

from __future__ import annotations

import re
from functools import cache

from tools.demo_model.tokenizer import full_vocabulary

COUNTED = {
    "en": (
        "strawberry banana apple orange lemon cherry peach melon grape tomato potato carrot onion pepper"
        " garlic cabbage lettuce cucumber pumpkin mushroom butter cheese bread sugar coffee water bottle"
        " spoon kitchen table window mirror carpet curtain pillow blanket garden flower forest mountain"
        " river valley meadow desert island ocean beach weather summer winter autumn spring thunder rainbow"
        " cloud storm season morning evening midnight yesterday tomorrow january february september december"
        " monday tuesday wednesday thursday saturday sunday minute second hour week month year century"
        " animal monkey rabbit turtle giraffe elephant tiger zebra kangaroo penguin parrot pigeon eagle"
        " chicken turkey horse donkey camel spider butterfly beetle insect dolphin whale salmon lobster"
        " school teacher student pencil paper notebook letter alphabet grammar sentence history science"
        " physics mathematics geometry algebra number addition hammer ladder engine wheel bicycle tractor"
        " train airport railway station ticket passenger driver doctor nurse hospital medicine office"
        " manager lawyer farmer soldier sailor pilot painter singer dancer writer poet actor artist music"
        " guitar violin piano trumpet drummer orchestra concert theatre museum library village city country"
        " street bridge tower castle palace church temple market money dollar penny wallet pocket jacket"
        " sweater shirt trousers slipper glove scarf button zipper umbrella computer keyboard screen program"
        " internet message telephone television camera battery mississippi committee success possess address"
        " balloon bubble puddle puzzle riddle giggle happy funny silly hungry thirsty angry little middle"
        " yellow purple green brown silver golden family mother father sister brother daughter cousin"
        " grandmother neighbour friend people person children baby finger shoulder stomach tongue eyebrow"
        " language english french model reason answer question problem thinking hello world"
    ).split(),
    "fr": (
        "fraise banane pomme orange citron cerise poire melon raisin tomate carotte oignon poivron chou"
        " laitue concombre citrouille champignon beurre fromage pain sucre chocolat bouteille fourchette"
        " couteau cuisine table chaise miroir tapis rideau oreiller couverture jardin fleur montagne colline"
        " vallon prairie ruisseau fleuve plage printemps automne hiver orage tonnerre nuage soleil lune"
        " matin soir minuit hier demain janvier mars avril juin juillet septembre octobre novembre lundi"
        " mardi mercredi jeudi vendredi samedi dimanche minute seconde heure semaine mois animal singe lapin"
        " tortue girafe tigre kangourou pingouin perroquet pigeon aigle poulet dinde cheval chameau papillon"
        " insecte dauphin baleine saumon homard grenouille crapaud serpent mouton chien souris professeur"
        " crayon papier cahier lettre alphabet grammaire phrase histoire science physique algorithme nombre"
        " addition soustraction marteau moteur roue bicyclette tracteur train gare voyageur conducteur"
        " docteur bureau directeur avocat fermier soldat marin pilote peintre chanteur danseur acteur"
        " artiste musique guitare violon piano trompette tambour orchestre concert village ville pays rue"
        " pont tour palais temple argent monnaie portefeuille poche veste chemise pantalon chaussure"
        " chaussette gant bonnet bouton parapluie ordinateur clavier programme internet message famille"
        " maman papa cousin cousine voisin ami personne enfant doigt bras jambe ventre langue oreille bouche"
        " nez cheveux anglais raison question bonjour monde merci jaune rouge vert bleu blanc noir violet"
        " rose marron gris malin content heureux triste petit grand long court rapide lent facile difficile"
        " possible impossible pamplemousse abricot ananas framboise groseille myrtille noisette aubergine"
        " courgette haricot radis navet persil basilic moutarde poivre vinaigre confiture croissant baguette"
        " brioche gaufre"
    ).split(),
}
"""Common words without accents, for their spelling has to be memorised. A problem is a letter and a word."""

_WORD = re.compile(" ?[A-Za-zéàçâêîô][a-zéèêàçôîùâûï]{2,13}")


@cache
def words() -> list[str]:
    """All others, in a fixed order. Tekken's full vocabulary is the list: it is there, and it is broad."""
    texts = (token.decode("utf-8", errors="replace") for token in full_vocabulary())
    known = {word for listed in COUNTED.values() for word in listed}
    found = dict.fromkeys(text.strip() for text in texts if _WORD.fullmatch(text))
    return [word for word in found if word.lower() not in known]
