"""Commands that work on a region: its ledger, its sinks, its peers."""

from functools import cached_property

from ec2map_sync.cli.base import Arguments, Command, Lister, ShowOne
from ec2map_sync.ledger import schema
from ec2map_sync.outages import describe
from ec2map_sync.region import Region


class RegionCommand(Command):
    """A command that opens what the configuration names."""

    def run(self, parsed_args: Arguments) -> int:
        """Acts, and drop all connections at the end."""
        try:
            return super().run(parsed_args)
        finally:
            if "region" in self.__dict__:
                self.region.close()

    @cached_property
    def region(self) -> Region:
        """The region, with the schema that we need; opened when needed."""
        region = Region(self.config)
        schema.require(region.engine)
        return region

    def explain(self, error: Exception) -> str:
        """Returns in one line what went wrong."""
        said = describe(error, broker="a broker does not answer")
        return said or super().explain(error)


class RegionLister(RegionCommand, Lister):
    """One that answers with a table."""


class RegionShowOne(RegionCommand, ShowOne):
    """One that answers with one thing."""
