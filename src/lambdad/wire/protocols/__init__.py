"""The protocols of AWS, server side: rest-json, JSON 1.0 and 1.1, query with XML answers; compiled from the models."""
