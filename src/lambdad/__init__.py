"""lambdad: AWS Lambda's invocation service on your own machine or servers."""

__version__ = "0.1.0"
