"""How an archive lies in its store. Five rooms; each imports only from those before it.

    files      Parquet, what a file says of itself, fetching from stores elsewhere
    manifest   what a month consists of: the model, the commit loop, layouts of earlier writers,
               deferred deletion, and the view of all change points of the month
    write      the hot file of a slot, its adoption, adoptions that come late
    compact    which merges and keyframes are due, merging in bounded memory, sealing
    maintain   what lies in the store, vacuum, verification, repair

What is written goes through them in this order:

    write   create the hot file of the slot; it is part of the archive at once
    adopt   name every waiting hot file in the manifest, oldest first
    merge   several files become one of the next level
    border  a full snapshot moves into a file of its own; what it changed becomes a file too
    keyframe   store the whole state, so that reading one never replays the past
    seal    a month that is over gets its final form
    delete  what has been replaced is removed after a grace period

What other systems call these things:

    hot file   a flush, a file of L0         adopt   commit of a data file
    keyframe   materialised state            seal    final compaction
    border     derived change data of a full load
    pending    tombstone of a file           fence   epoch
"""
