"""A minimal IAM: roles and policies are kept and given back; policies are not enforced yet."""

from lambdad.neighbours.iam.policies import Policies
from lambdad.neighbours.iam.roles import Roles

__all__ = ["Policies", "Roles"]
