"""Python imports this when a process of the kill matrix starts, for this folder is on its path."""

from kill_log import stop_here

from embedlib.run.points import install

install(stop_here)
