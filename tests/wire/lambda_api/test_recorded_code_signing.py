"""Code signing configurations, replayed against what AWS answered."""

from __future__ import annotations

from tests.control.building import ACCOUNT, REGION
from tests.recordings import Recording
from tests.wire.lambda_api.conftest import Lambda

MISSING = "csc-test-doesnotexist"


async def test_what_is_not_found(aws: Lambda) -> None:
    await aws.create()
    created = await aws.create_code_signing_config(
        Description="Testing CodeSigning Config",
        AllowedPublishers={"SigningProfileVersionArns": [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/test"]},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )
    arn = created["CodeSigningConfig"]["CodeSigningConfigArn"]
    wrong = f"{arn[:-1]}{'x' if arn[-1] != 'x' else 'y'}"
    recording = Recording.find(
        "TestCodeSigningConfig::test_code_signing_not_found_excs", region=REGION, csc_arn_invalid=wrong
    )
    # This placeholder is spelled with underscores.
    for step in recording.steps.values():
        for holder in (step, step.get("Error", {})):
            for key, value in holder.items():
                if isinstance(value, str):
                    holder[key] = value.replace("<csc_arn_invalid>", wrong)
    recording.check("create_code_signing_config", created)
    for step, operation, params in (
        ("delete_csc_notfound", "delete_code_signing_config", {"CodeSigningConfigArn": wrong}),
        ("delete_function_csc_fnnotfound", "delete_function_code_signing_config", {"FunctionName": MISSING}),
        (
            "put_function_csc_invalid_fnname",
            "put_function_code_signing_config",
            {"FunctionName": MISSING, "CodeSigningConfigArn": arn},
        ),
        (
            "put_function_csc_invalid_csc_arn",
            "put_function_code_signing_config",
            {"FunctionName": "f", "CodeSigningConfigArn": wrong},
        ),
        (
            "put_function_csc_invalid_both",
            "put_function_code_signing_config",
            {"FunctionName": MISSING, "CodeSigningConfigArn": wrong},
        ),
        (
            "update_csc_invalid_csc_arn",
            "update_code_signing_config",
            {"CodeSigningConfigArn": wrong, "Description": "d"},
        ),
        ("update_csc_noupdates", "update_code_signing_config", {"CodeSigningConfigArn": wrong}),
        ("get_csc_invalid", "get_code_signing_config", {"CodeSigningConfigArn": wrong}),
        ("get_function_csc_nonexistingfn", "get_function_code_signing_config", {"FunctionName": MISSING}),
        (
            "list_functions_by_csc_invalid_cscarn",
            "list_functions_by_code_signing_config",
            {"CodeSigningConfigArn": wrong},
        ),
    ):
        recording.check(step, await aws.refused(operation, **params))
    for step, operation, params in (
        ("nothing_to_delete_response", "delete_function_code_signing_config", {"FunctionName": "f"}),
        ("update_csc_noupdate_response", "update_code_signing_config", {"CodeSigningConfigArn": arn}),
        ("get_function_csc_fnwithoutcsc", "get_function_code_signing_config", {"FunctionName": "f"}),
        ("list_functions_by_csc_fnwithoutcsc", "list_functions_by_code_signing_config", {"CodeSigningConfigArn": arn}),
    ):
        recording.check(step, await getattr(aws, operation)(**params))
