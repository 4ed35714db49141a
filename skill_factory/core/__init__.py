"""What every room uses: tables, the tags of a trace, sources of data, files, the ledger."""
