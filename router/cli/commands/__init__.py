"""The commands about money, in files by what they are about."""
