"""The monitor screen: shows a server and changes it, in a terminal, over the monitor port."""
