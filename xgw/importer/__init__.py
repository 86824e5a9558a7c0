"""Reading somebody's CSV export: nothing is guessed, nothing is lost, and what cannot be read is told apart, row by row.

The read side (this part knows no store and no command line):

    source  = open_source(path or "-", spool=folder)           source.py      Source: name, size, sha256, pread; a context manager
    sheet   = open_sheet(source, encoding=, delimiter=, known=) sheet.py      Sheet: dialect (Dialect), header, start (Position)
    batches(source, sheet, size=500, start=Position) -> Batch… reading.py     fixed slices of rows; from any recorded Position
    shard(source, sheet, index, count, size=500) -> Batch…     reading.py     whole batches of one byte range; 0 <= index < count
    chosen  = choose(sheet.columns, flags, unmapped=, …)       mapping.py     FieldMap; fault while something is ambiguous
    save(field_map) -> text ; load(text, columns) -> FieldMap  mapping_file.py
    check   = Validator(field_map, sheet.columns, tenant=, run=, now=, by=, key="email")     validation.py
    check(row, number) -> Contact | Refusal(code, column, reason, example) ; check.given(row) -> field names with a value
    checked(batch, check) -> (contacts with row numbers, [Reject])   rejects.py
    Reject(row, line, byte, code, column, reason, example, raw) ; rejects_head(sheet) ; rejects_row(sheet, reject) -> bytes
    neutral(text) / plain(text)                                 neutral.py    formula cells on export, and back
    REASONS                                                     reasons.py    every code a row can be refused with

Rows are numbered from 1, in the file's order, rejected ones included; blank lines are no rows. Lines are numbered from 1
over the whole file. Bytes count from 0 over the whole file, the byte order mark included.
"""
