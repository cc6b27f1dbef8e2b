"""Getting a model on the screen: on the first run, and later from the command palette.

    offers    what may be chosen from, and where it comes from: plain data
    looking   a machine, its fit and the disk → offers
    table     one offer as a row
    choose    the screen with the table
    pulls     one pull in a thread of its own, and its state
    progress  how far it is: plain data
    tally     the store's steps, added up to progress
    telling   a pull's state in words and bars
    pulling   the screen that draws it, and where the user says yes
    flow      which screen follows which, and the pull behind the chat

Imported when it is wanted: all but `offers` has no part in the chat's first paint.
"""
