"""Everything on this machine: the parts of `seawall up` and `seawall demo` as child processes of one parent."""
