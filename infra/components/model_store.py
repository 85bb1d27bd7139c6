"""Where models live: one versioned bucket. A manifest names each file with its version and sha256 (docs/how-to/deploy.md)."""

import json

import pulumi
import pulumi_aws as aws

from infra.settings import FleetSettings

KEPT_DAYS = 180
"""Days for which an old version of a model can still be rolled back to; three are kept however old they are."""


class ModelStore(pulumi.ComponentResource):
    """bucket: protected, because models are the one thing here that `pulumi up` cannot make again."""

    def __init__(self, settings: FleetSettings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("medic:infra:ModelStore", settings.name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        name = settings.name
        self.bucket = aws.s3.Bucket(
            f"{name}-models", tags=settings.all_tags, opts=pulumi.ResourceOptions(parent=self, protect=True)
        )
        bucket = self.bucket.id
        aws.s3.BucketVersioning(
            f"{name}-models",
            bucket=bucket,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=child,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-models",
            bucket=bucket,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                        sse_algorithm="aws:kms"
                    ),
                    bucket_key_enabled=True,
                )
            ],
            opts=child,
        )
        aws.s3.BucketPublicAccessBlock(
            f"{name}-models",
            bucket=bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(f"{name}-models", bucket=bucket, rules=[_old_versions()], opts=child)
        aws.s3.BucketPolicy(f"{name}-models", bucket=bucket, policy=self.bucket.arn.apply(_only_tls), opts=child)
        self.register_outputs({"bucket": bucket})


def _old_versions() -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id="old-versions",
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="models/"),
        noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=KEPT_DAYS, newer_noncurrent_versions=3
        ),
        abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
            days_after_initiation=7
        ),
    )


def _only_tls(arn: str) -> str:
    statement = {
        "Sid": "OnlyTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
