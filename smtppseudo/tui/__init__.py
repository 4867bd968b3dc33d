"""The monitor screen: what a server's monitor port tells, and what can be changed there, in a terminal."""
