"""`python -m xgw` is `xgw`."""

from xgw.cli.main import main

raise SystemExit(main())
