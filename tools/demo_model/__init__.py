"""Builds localmag's bundled demo model from nothing: data, training, export, evaluation.

The files, in the order in which a run uses them:

    tokenizer.py      a true prefix of Tekken v13: the same ids as Magistral's
    bytepairs.py      text <-> ids
    words.py          words to ask about in small talk
    split.py          which problems are held out
    reasoning.py      problem -> the steps written between [THINK] and [/THINK]
    problems.py       random problems, each with its steps and its result
    phrasing.py       how people ask, in English and French
    stories.py        two-step word problems
    smalltalk.py      everything the model cannot do, and what it says then
    conversations.py  problems + follow-ups + system prompts -> conversations
    sample.py         shows some of it
    encoding.py       conversation -> ids and the mask of what is learnt, as mistral-common writes it
    batches.py        conversations -> batches of one length, the same for a given seed and step
    shape.py          the sizes of the network
    model.py          the network (the `llama` architecture)
    muon.py           the optimizer of the matrices
    training.py       the training loop, with checkpoints
    exporting.py      weights -> GGUF (F16, Q8_0) and Hugging Face safetensors
    checking.py       what counts as a right reply
    builds.py         which builds there are; the MLX ones, made of the GGUF
    evaluation.py     held-out accuracy per family, language and build
    scores.py         what was measured, kept, and its table
    comparing.py      greedy replies of two engines, id by id
"""
