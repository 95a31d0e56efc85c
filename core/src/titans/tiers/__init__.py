"""What is written where: hot files, merged files, the manifest and the commits that change it."""
