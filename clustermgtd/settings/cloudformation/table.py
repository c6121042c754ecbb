"""The claim table (docs/reference/dynamodb.md)."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.parts import Part, ref, tags
from clustermgtd.settings.cluster import Settings


def table(settings: Settings) -> Part:
    """On demand, encrypted by DynamoDB, every second of the last 35 days can be restored."""
    return Part(
        resources={
            "Claims": {
                "Type": "AWS::DynamoDB::Table",
                "UpdateReplacePolicy": "Delete",
                "DeletionPolicy": "Delete",
                "Properties": {
                    "TableName": settings.clustermgtd.table_name,
                    "BillingMode": "PAY_PER_REQUEST",
                    "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
                    "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
                    "TimeToLiveSpecification": {"AttributeName": "ExpiresAt", "Enabled": True},
                    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                    "Tags": tags(settings),
                },
            }
        },
        outputs={"Table": ref("Claims")},
    )
