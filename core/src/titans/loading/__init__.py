"""Full snapshots that lie in files, or in the history of one, on their way into an archive.

sources      which files are meant: paths, patterns, folders, standard input, objects of a store
names        the time that the name of a file says
unpack       gz, bz2 and zst
records      the list of records in a JSON document
tables       the bytes of a file as a frame
snapshots    a table that holds many snapshots, apart
git          the versions of a file in a git repository
batch        any of these, and ingesting it: what became of each snapshot
rehearsal    an archive that writes nothing, to see what would become of them

See `titans.ingestion` for the function, `titans.cli.ingest` for the command.
"""
