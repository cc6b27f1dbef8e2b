"""How people ask: templates per family and language. `{a}` and `{b}` are the operands, `{n}` numbers."""

ARITHMETIC = {
    ("en", "+"): (
        "What is {a} + {b}?|What's {a} + {b}?|{a} + {b}|{a}+{b}|{a} + {b} = ?|{a}+{b}=|{a}+{b}=?|Compute {a} + {b}."
        "|Calculate {a} + {b}|Add {a} and {b}.|Add {b} to {a}|What is the sum of {a} and {b}?|How much is {a} + {b}?"
        "|How much is {a} plus {b}?|What is {a} plus {b}?|{a} plus {b}|Can you add {a} and {b}?|sum {a} and {b}"
        "|What do you get when you add {a} and {b}?|I need {a} + {b}.|Tell me what {a} + {b} is|solve {a} + {b}"
        "|Work out {a} + {b}|{a} and {b} together make how much?|If I add {b} to {a}, what do I get?"
        "|Find the sum: {a} + {b}|what does {a}+{b} equal?|Evaluate {a} + {b}.|{a} + {b} equals?|Give me {a} + {b}"
    ),
    ("en", "-"): (
        "What is {a} - {b}?|What's {a} - {b}?|{a} - {b}|{a}-{b}|{a} - {b} = ?|{a}-{b}=|{a}-{b}=?|Compute {a} - {b}."
        "|Calculate {a} - {b}|Subtract {b} from {a}.|Take {b} away from {a}|What is {a} minus {b}?|{a} minus {b}"
        "|How much is {a} minus {b}?|How much is {a} - {b}?|Can you subtract {b} from {a}?|I need {a} - {b}."
        "|What is the difference {a} - {b}?|Tell me what {a} - {b} is|solve {a} - {b}|Work out {a} - {b}"
        "|If I take {b} from {a}, what is left?|what does {a}-{b} equal?|Evaluate {a} - {b}.|{a} - {b} equals?"
        "|What do you get when you subtract {b} from {a}?|{a} less {b}|Give me {a} - {b}"
    ),
    ("en", "×"): (
        "What is {a} × {b}?|What is {a} * {b}?|What's {a} x {b}?|{a} × {b}|{a} * {b}|{a}*{b}|{a}x{b}|{a} x {b} = ?"
        "|{a}*{b}=|{a} × {b} = ?|Compute {a} × {b}.|Calculate {a} * {b}|Multiply {a} by {b}.|Multiply {a} and {b}"
        "|What is {a} times {b}?|{a} times {b}|How much is {a} times {b}?|What is the product of {a} and {b}?"
        "|Can you multiply {a} by {b}?|solve {a} * {b}|Work out {a} × {b}|How much is {a} x {b}?|I need {a} * {b}."
        "|what does {a}*{b} equal?|Evaluate {a} × {b}.|{a} multiplied by {b}|Give me {a} × {b}|product of {a} and {b}"
    ),
    ("fr", "+"): (
        "Combien font {a} + {b} ?|Combien fait {a} + {b} ?|{a} + {b} ?|{a} + {b} égale combien ?|{a} plus {b} ?"
        "|Calcule {a} + {b}.|Calcule {a}+{b}|Additionne {a} et {b}.|Ajoute {b} à {a}|Quelle est la somme de {a} et {b} ?"
        "|Combien font {a} et {b} ?|Combien font {a} plus {b} ?|Combien ça fait, {a} + {b} ?|ça fait combien {a} + {b}"
        "|Peux-tu additionner {a} et {b} ?|Quel est le résultat de {a} + {b} ?|Donne-moi {a} + {b}."
        "|Que vaut {a} + {b} ?|Fais la somme de {a} et {b}|Effectue {a} + {b}|Si j'ajoute {b} à {a}, j'obtiens combien ?"
        "|Dis-moi combien font {a} + {b}|Résous {a} + {b}|C'est combien {a} + {b} ?|Je voudrais {a} + {b}"
        "|calcul : {a} + {b}|Pouvez-vous calculer {a} + {b} ?|Combien vaut {a} + {b} ?"
    ),
    ("fr", "-"): (
        "Combien font {a} - {b} ?|Combien fait {a} - {b} ?|{a} - {b} ?|{a} - {b} égale combien ?|{a} moins {b} ?"
        "|Calcule {a} - {b}.|Calcule {a}-{b}|Soustrais {b} de {a}.|Retire {b} à {a}|Enlève {b} de {a}"
        "|Quelle est la différence {a} - {b} ?|Combien font {a} moins {b} ?|Combien ça fait, {a} - {b} ?"
        "|ça fait combien {a} - {b}|Peux-tu soustraire {b} de {a} ?|Quel est le résultat de {a} - {b} ?"
        "|Donne-moi {a} - {b}.|Que vaut {a} - {b} ?|Effectue {a} - {b}|Si j'enlève {b} à {a}, il reste combien ?"
        "|Dis-moi combien font {a} - {b}|Résous {a} - {b}|C'est combien {a} - {b} ?|Je voudrais {a} - {b}"
        "|calcul : {a} - {b}|Pouvez-vous calculer {a} - {b} ?|Combien vaut {a} - {b} ?"
    ),
    ("fr", "×"): (
        "Combien font {a} × {b} ?|Combien fait {a} * {b} ?|{a} × {b} ?|{a} fois {b} ?|Combien font {a} fois {b} ?"
        "|Calcule {a} × {b}.|Calcule {a}*{b}|Multiplie {a} par {b}.|Quel est le produit de {a} et {b} ?"
        "|Quel est le produit de {a} par {b} ?|Combien ça fait, {a} x {b} ?|ça fait combien {a} fois {b}"
        "|Peux-tu multiplier {a} par {b} ?|Quel est le résultat de {a} × {b} ?|Donne-moi {a} × {b}."
        "|Que vaut {a} × {b} ?|Effectue {a} x {b}|Dis-moi combien font {a} × {b}|Résous {a} * {b}"
        "|C'est combien {a} fois {b} ?|Je voudrais {a} x {b}|calcul : {a} × {b}|{a} multiplié par {b} ?"
        "|Pouvez-vous calculer {a} × {b} ?|Combien vaut {a} × {b} ?|Combien font {a} x {b} ?"
    ),
}

COMPARE = {
    ("en", True): (
        "Which is larger: {n}?|Which is bigger, {n}?|Which number is greater, {n}?|Which is greater: {n}?"
        "|What is the largest of {n}?|Which is the largest: {n}?|What is the biggest number: {n}?|Find the maximum of {n}."
        "|max of {n}|Which one is higher, {n}?|largest of {n}|Tell me which is bigger: {n}|{n}: which is larger?"
        "|{n}, which is the biggest?|Give me the largest of {n}|Compare {n}: which is larger?|Who is bigger, {n}?"
    ),
    ("en", False): (
        "Which is smaller: {n}?|Which is smaller, {n}?|Which number is less, {n}?|Which is lower: {n}?"
        "|What is the smallest of {n}?|Which is the smallest: {n}?|What is the smallest number: {n}?"
        "|Find the minimum of {n}.|min of {n}|Which one is lower, {n}?|smallest of {n}|Tell me which is smaller: {n}"
        "|{n}: which is smaller?|{n}, which is the smallest?|Give me the smallest of {n}|Compare {n}: which is smaller?"
    ),
    ("fr", True): (
        "Lequel est le plus grand : {n} ?|Lequel est plus grand, {n} ?|Quel nombre est le plus grand, {n} ?"
        "|Quel est le plus grand : {n} ?|Quel est le plus grand nombre entre {n} ?|Trouve le maximum de {n}."
        "|maximum de {n}|le plus grand de {n}|Dis-moi lequel est le plus grand : {n}|{n} : lequel est le plus grand ?"
        "|{n}, quel est le plus grand ?|Donne-moi le plus grand de {n}|Compare {n} : lequel est le plus grand ?"
        "|Qui est le plus grand, {n} ?|Quel est le maximum entre {n} ?"
    ),
    ("fr", False): (
        "Lequel est le plus petit : {n} ?|Lequel est plus petit, {n} ?|Quel nombre est le plus petit, {n} ?"
        "|Quel est le plus petit : {n} ?|Quel est le plus petit nombre entre {n} ?|Trouve le minimum de {n}."
        "|minimum de {n}|le plus petit de {n}|Dis-moi lequel est le plus petit : {n}|{n} : lequel est le plus petit ?"
        "|{n}, quel est le plus petit ?|Donne-moi le plus petit de {n}|Compare {n} : lequel est le plus petit ?"
        "|Qui est le plus petit, {n} ?|Quel est le minimum entre {n} ?"
    ),
}

SORT = {
    ("en", False): (
        "Sort {n}.|Sort {n} in ascending order.|Sort these numbers: {n}|Sort in ascending order: {n}"
        "|Order {n} from smallest to largest.|Arrange {n} in increasing order|Put {n} in order|sort {n} ascending"
        "|Can you sort {n}?|Order these numbers from smallest to largest: {n}|Rank {n} from lowest to highest"
        "|Sort the numbers {n} from small to large|sort: {n}|Put these numbers in ascending order: {n}"
        "|Sort the list {n}|sort [{n}]|Put {n} in ascending order.|What is the ascending order of {n}?"
    ),
    ("en", True): (
        "Sort {n} in descending order.|Sort in descending order: {n}|Order {n} from largest to smallest."
        "|Arrange {n} in decreasing order|sort {n} descending|Order these numbers from largest to smallest: {n}"
        "|Rank {n} from highest to lowest|Sort the numbers {n} from large to small|Sort {n}, largest first"
        "|Put these numbers in descending order: {n}|Can you sort {n} in descending order?|Sort {n} from high to low"
        "|sort [{n}] descending|Put {n} in descending order.|What is the descending order of {n}?"
    ),
    ("fr", False): (
        "Trie {n}.|Trie {n} dans l'ordre croissant.|Trie ces nombres : {n}|Trie dans l'ordre croissant : {n}"
        "|Range {n} du plus petit au plus grand.|Classe {n} par ordre croissant|Mets {n} dans l'ordre"
        "|Mets ces nombres dans l'ordre croissant : {n}|Peux-tu trier {n} ?|Ordonne {n}|trier {n}"
        "|Range ces nombres du plus petit au plus grand : {n}|Classe ces nombres : {n}|Trie la liste {n}"
        "|trie : {n}|Mets {n} dans l'ordre croissant.|Range {n} par ordre croissant|trie [{n}]"
    ),
    ("fr", True): (
        "Trie {n} dans l'ordre décroissant.|Trie dans l'ordre décroissant : {n}|Range {n} du plus grand au plus petit."
        "|Classe {n} par ordre décroissant|Mets ces nombres dans l'ordre décroissant : {n}|Ordonne {n} en décroissant"
        "|Range ces nombres du plus grand au plus petit : {n}|Peux-tu trier {n} dans l'ordre décroissant ?"
        "|Trie {n}, le plus grand d'abord|Trie ces nombres du plus grand au plus petit : {n}|trie [{n}] décroissant"
        "|Mets {n} dans l'ordre décroissant.|Range {n} par ordre décroissant|trier {n} par ordre décroissant"
    ),
}

LETTERS = {
    "en": (
        "How many {l}'s are in {w}?|How many {l} are there in {w}?|How many {l}s are in {w}?|How many {l}'s in {w}?"
        "|Count the letter {l} in {w}.|How many times does {l} appear in {w}?|How many letters {l} are there in {w}?"
        "|How many times does the letter {l} occur in {w}?|Count the {l}'s in {w}|number of {l} in {w}|how many {l} in {w}"
        "|What is the number of {l}'s in the word {w}?|In the word {w}, how many {l}'s are there?|{w}: how many {l}?"
        "|How many {l}'s are there in the word {w}?|Count how many {l} {w} has|How often does {l} occur in {w}?"
        "|Tell me how many {l}s there are in {w}|How many {l}'s does {w} have?|Can you count the letter {l} in {w}?"
    ),
    "fr": (
        "Combien de {l} dans {w} ?|Combien y a-t-il de {l} dans {w} ?|Combien de {l} y a-t-il dans {w} ?"
        "|Compte les {l} dans {w}.|Combien de fois la lettre {l} apparaît-elle dans {w} ?|Compte la lettre {l} dans {w}"
        "|Combien de lettres {l} y a-t-il dans le mot {w} ?|Combien de lettres {l} dans {w} ?|nombre de {l} dans {w}"
        "|Quel est le nombre de {l} dans le mot {w} ?|Dans le mot {w}, combien y a-t-il de {l} ?|{w} : combien de {l} ?"
        "|Combien de {l} dans le mot {w} ?|Combien y a-t-il de lettres {l} dans {w} ?|combien de {l} contient {w} ?"
        "|Il y a combien de {l} dans {w} ?|Dis-moi combien de {l} il y a dans {w}|Peux-tu compter les {l} dans {w} ?"
        "|Combien de fois y a-t-il {l} dans {w} ?|Combien le mot {w} a-t-il de {l} ?"
    ),
}
"""Asked for the letter `{l}` in the word `{w}`: outside what the model can do, for it reads tokens, not letters."""

FOLLOW = {
    ("en", "+"): (
        "now add {b}|Now add {b}.|and plus {b}?|plus {b}?|add {b}|Add {b} to it.|Add {b} to that|and add {b}?|+ {b}"
        "|Then add {b}.|What if I add {b}?|Add {b} to the result.|Now add {b} to that.|and {b} more?|plus {b}"
        "|ok, add {b}|Now plus {b}|Increase it by {b}|and if you add {b}?"
    ),
    ("en", "-"): (
        "now subtract {b}|Now subtract {b}.|and minus {b}?|minus {b}?|subtract {b}|Subtract {b} from it."
        "|Subtract {b} from that|take away {b}|- {b}|Then subtract {b}.|What if I subtract {b}?|and take away {b}?"
        "|Subtract {b} from the result.|Now take {b} away from that.|and {b} less?|minus {b}|Now minus {b}"
        "|remove {b}|Decrease it by {b}"
    ),
    ("en", "×"): (
        "now multiply by {b}|Now multiply it by {b}.|and times {b}?|times {b}?|multiply by {b}|Multiply that by {b}."
        "|times {b}|* {b}|× {b}|Then multiply by {b}.|Multiply the result by {b}.|What if I multiply by {b}?|x {b}"
        "|Now times {b}|and multiplied by {b}?"
    ),
    (
        "en",
        "2",
    ): "double it|Double it.|Now double it.|and doubled?|double that|Double the result|now double|twice that?",
    ("fr", "+"): (
        "et maintenant ajoute {b}|Maintenant ajoute {b}.|et plus {b} ?|plus {b} ?|ajoute {b}|Ajoute {b} au résultat."
        "|Ajoute-lui {b}|et si j'ajoute {b} ?|+ {b}|Puis ajoute {b}.|Ajoute {b} à cela.|et avec {b} de plus ?"
        "|Ajoute encore {b}|ok, ajoute {b}|rajoute {b}|Et si on ajoute {b} ?|Maintenant plus {b}|et {b} de plus ?"
    ),
    ("fr", "-"): (
        "et maintenant enlève {b}|Maintenant soustrais {b}.|et moins {b} ?|moins {b} ?|enlève {b}|retire {b}"
        "|Retire {b} du résultat.|et si j'enlève {b} ?|- {b}|Puis retire {b}.|Soustrais {b} du résultat."
        "|Enlève-lui {b}|soustrais {b}|et si on retire {b} ?|Maintenant moins {b}|et {b} de moins ?|Enlève encore {b}"
    ),
    ("fr", "×"): (
        "et maintenant multiplie par {b}|Maintenant multiplie par {b}.|et fois {b} ?|fois {b} ?|multiplie par {b}"
        "|Multiplie le résultat par {b}.|Multiplie-le par {b}|et si je multiplie par {b} ?|* {b}|× {b}|x {b}"
        "|Puis multiplie par {b}.|Multiplie cela par {b}|Maintenant fois {b}|et multiplié par {b} ?"
    ),
    ("fr", "2"): (
        "double-le|Double-le.|et le double ?|Maintenant double le résultat.|double le résultat|et doublé ?|le double ?"
        "|Et si on le double ?"
    ),
}

FOLLOW_COMPARE = {
    ("en", True): "and the largest?|which is the largest?|And the biggest?|now the largest|and the maximum?",
    (
        "en",
        False,
    ): "and the smallest?|which is the smallest?|And the lowest?|now the smallest|and the minimum?",
    (
        "fr",
        True,
    ): "et le plus grand ?|lequel est le plus grand ?|Et le plus grand ?|maintenant le plus grand|et le maximum ?",
    (
        "fr",
        False,
    ): "et le plus petit ?|lequel est le plus petit ?|Et le plus petit ?|maintenant le plus petit|et le minimum ?",
}

POLITE = {
    "en": (
        "{} please|{}, please|Please {}|Hi! {}|Hello, {}|Hey, {}|ok {}|{} thanks|{} Thank you!|Quick question: {}"
    ).split("|"),
    "fr": (
        "{} s'il te plaît|{}, s'il vous plaît|{} stp|Bonjour, {}|Salut ! {}|ok {}|{} merci|{} Merci !|Petite question : {}"
    ).split("|"),
}
