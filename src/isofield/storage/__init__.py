"""Where files lie: folders of this machine, or stores on the network, seen through one small interface."""
