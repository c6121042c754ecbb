"""Instances, templates, the Region and the protocol, seen through real boto3: each test is one sentence."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from clustermgtd.lab.ec2.scenario import Scenario
from tests.contract.ec2_calls import (
    ZONES,
    A,
    B,
    C,
    by_tag,
    fleet,
    ids_of,
    instances,
    make_template,
    pool,
    refusal,
    tagged,
    wait_for_state,
)


class TestInstances:
    def test_template_override_and_request_meet_in_the_instance(self, ec2: Any) -> None:
        name = make_template(
            ec2,
            UserData=base64.b64encode(b"#!/bin/sh\n").decode(),
            InstanceType="c5.large",
            KeyName="key",
            SecurityGroupIds=["sg-1", "sg-2"],
            IamInstanceProfile={"Name": "compute"},
            MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "template"}]}],
        )
        token = str(uuid.uuid4())
        reply = ec2.create_fleet(**fleet(name, pool("c5.xlarge", B), TagSpecifications=tagged(token)))
        (found,) = instances(ec2, Filters=by_tag(token))
        tags = {t["Key"]: t["Value"] for t in found["Tags"]}
        assert (tags["from"], tags["test"]) == ("template", token)
        assert tags["aws:ec2:fleet-id"] == reply["FleetId"]
        assert tags["aws:ec2launchtemplate:version"] == "1"
        assert (found["InstanceType"], found["SubnetId"], found["Placement"]["AvailabilityZone"]) == (
            "c5.xlarge",
            B,
            "us-east-1b",
        )
        assert found["PrivateIpAddress"].startswith("10.2.")
        assert found["PrivateDnsName"] == f"ip-{found['PrivateIpAddress'].replace('.', '-')}.ec2.internal"
        assert found["KeyName"] == "key"
        assert [g["GroupId"] for g in found["SecurityGroups"]] == ["sg-1", "sg-2"]
        assert found["IamInstanceProfile"]["Arn"].endswith(":instance-profile/compute")
        assert found["MetadataOptions"]["HttpTokens"] == "required"
        assert found["NetworkInterfaces"][0]["PrivateIpAddress"] == found["PrivateIpAddress"]
        assert abs((found["LaunchTime"] - datetime.now(UTC)).total_seconds()) < 60
        data = ec2.describe_instance_attribute(InstanceId=found["InstanceId"], Attribute="userData")
        assert base64.b64decode(data["UserData"]["Value"]) == b"#!/bin/sh\n"

    def test_an_instance_is_pending_then_running_then_shutting_down_then_terminated(
        self, ec2: Any, template: str
    ) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"))))
        (new,) = instances(ec2, InstanceIds=[id])
        assert new["State"] == {"Code": 0, "Name": "pending"}
        assert wait_for_state(ec2, id, "running")["State"]["Code"] == 16
        (change,) = ec2.terminate_instances(InstanceIds=[id])["TerminatingInstances"]
        assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "shutting-down")
        gone = wait_for_state(ec2, id, "terminated")
        assert gone["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
        assert "PrivateIpAddress" not in gone
        (again,) = ec2.terminate_instances(InstanceIds=[id])["TerminatingInstances"]
        assert again["CurrentState"]["Name"] == "terminated"

    def test_a_spot_instance_says_so(self, ec2: Any, template: str) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"), market="spot")))
        (found,) = instances(ec2, InstanceIds=[id])
        assert found["InstanceLifecycle"] == "spot"
        assert found["SpotInstanceRequestId"].startswith("sir-")

    def test_one_wrong_id_fails_the_whole_termination(self, ec2: Any, template: str) -> None:
        ids = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"), count=2)))
        wrong = "i-0123456789abcdef0"
        assert refusal(ec2.terminate_instances, InstanceIds=[*ids, wrong]) == ("InvalidInstanceID.NotFound", 400)
        assert refusal(ec2.terminate_instances, InstanceIds=[*ids, "i-x"]) == ("InvalidInstanceID.Malformed", 400)
        assert {i["State"]["Name"] for i in instances(ec2, InstanceIds=ids)} <= {"pending", "running"}

    def test_a_protected_instance_keeps_its_zone_alive_and_no_other(self, ec2: Any, template: str) -> None:
        here = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large", A), count=2)))
        (there,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large", B))))
        ec2.modify_instance_attribute(InstanceId=here[0], DisableApiTermination={"Value": True})
        assert refusal(ec2.terminate_instances, InstanceIds=[*here, there]) == ("OperationNotPermitted", 400)
        assert {i["State"]["Name"] for i in instances(ec2, InstanceIds=here)} <= {"pending", "running"}
        (other,) = instances(ec2, InstanceIds=[there])
        assert other["State"]["Name"] in ("shutting-down", "terminated")
        ec2.modify_instance_attribute(InstanceId=here[0], DisableApiTermination={"Value": False})
        assert len(ec2.terminate_instances(InstanceIds=here)["TerminatingInstances"]) == 2

    def test_an_instance_can_be_stopped_and_started(self, ec2: Any, template: str) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"))))
        assert refusal(ec2.start_instances, InstanceIds=["i-0123456789abcdef0"])[0] == "InvalidInstanceID.NotFound"
        address = wait_for_state(ec2, id, "running")["PrivateIpAddress"]
        (change,) = ec2.stop_instances(InstanceIds=[id])["StoppingInstances"]
        assert change["CurrentState"]["Name"] == "stopping"
        assert wait_for_state(ec2, id, "stopped")["PrivateIpAddress"] == address
        (change,) = ec2.start_instances(InstanceIds=[id])["StartingInstances"]
        assert change["CurrentState"]["Name"] == "pending"
        wait_for_state(ec2, id, "running")

    def test_a_stopped_instance_does_not_start_without_capacity(
        self, ec2: Any, aws_endpoints: Any, template: str
    ) -> None:
        aws_endpoints.model(lambda m: m.set_capacity("r5.xlarge", "us-east-1a", "on-demand", 1))
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("r5.xlarge"))))
        wait_for_state(ec2, id, "running")
        ec2.stop_instances(InstanceIds=[id])
        wait_for_state(ec2, id, "stopped")
        assert len(ids_of(ec2.create_fleet(**fleet(template, pool("r5.xlarge"))))) == 1
        assert refusal(ec2.start_instances, InstanceIds=[id]) == ("InsufficientInstanceCapacity", 500)

    def test_a_spot_instance_cannot_be_stopped(self, ec2: Any, template: str) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"), market="spot")))
        wait_for_state(ec2, id, "running")
        assert refusal(ec2.stop_instances, InstanceIds=[id]) == ("UnsupportedOperation", 400)

    def test_console_output_is_empty_and_then_there(self, ec2: Any, aws_endpoints: Any, template: str) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"))))
        assert "Output" not in ec2.get_console_output(InstanceId=id)
        aws_endpoints.model(lambda m: m.consoles.append(id, "Welcome <1>\n"))
        output = ec2.get_console_output(InstanceId=id, Latest=True)["Output"]
        assert output == "Welcome <1>\n"

    def test_tags_can_be_added_found_and_removed(self, ec2: Any, template: str) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"))))
        value = f'<&"{uuid.uuid4()}'
        ec2.create_tags(Resources=[id], Tags=[{"Key": "test", "Value": value}])
        assert [i["InstanceId"] for i in instances(ec2, Filters=by_tag(value))] == [id]
        ec2.delete_tags(Resources=[id], Tags=[{"Key": "test"}])
        assert instances(ec2, Filters=by_tag(value)) == []

    def test_status_checks_and_scheduled_events_are_told(self, ec2: Any, aws_endpoints: Any, template: str) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"))))
        wait_for_state(ec2, id, "running")
        (status,) = ec2.describe_instance_status(InstanceIds=[id])["InstanceStatuses"]
        assert (status["SystemStatus"]["Status"], status["InstanceStatus"]["Status"]) == ("ok", "ok")
        aws_endpoints.model(lambda m: m.statuses.set(id, system="impaired"))
        impaired = [{"Name": "system-status.status", "Values": ["impaired"]}]
        found = ec2.describe_instance_status(Filters=impaired)["InstanceStatuses"]
        assert id in [s["InstanceId"] for s in found]


class TestRunInstances:
    def test_it_launches_as_many_as_there_are_between_the_two_counts(self, ec2: Any, aws_endpoints: Any) -> None:
        aws_endpoints.model(lambda m: m.set_capacity("z1d.large", "us-east-1a", "on-demand", 3))
        request = {"ImageId": "ami-1", "InstanceType": "z1d.large", "SubnetId": A}
        assert refusal(ec2.run_instances, MinCount=4, MaxCount=5, **request) == ("InsufficientInstanceCapacity", 500)
        assert len(ec2.run_instances(MinCount=1, MaxCount=5, **request)["Instances"]) == 3

    def test_its_token_gives_the_same_instances_again(self, ec2: Any) -> None:
        request = {"ImageId": "ami-1", "InstanceType": "c5.large", "MinCount": 1, "MaxCount": 1}
        token = str(uuid.uuid4())
        first = ec2.run_instances(ClientToken=token, **request)["Instances"]
        second = ec2.run_instances(ClientToken=token, **request)["Instances"]
        assert [i["InstanceId"] for i in first] == [i["InstanceId"] for i in second]
        assert refusal(ec2.run_instances, ClientToken=token, **{**request, "InstanceType": "c5.xlarge"}) == (
            "IdempotentParameterMismatch",
            400,
        )

    def test_its_parameters_win_over_the_templates(self, ec2: Any) -> None:
        name = make_template(ec2, InstanceType="c5.large")
        (instance,) = ec2.run_instances(
            LaunchTemplate={"LaunchTemplateName": name}, InstanceType="c5.xlarge", SubnetId=C, MinCount=1, MaxCount=1
        )["Instances"]
        assert (instance["InstanceType"], instance["ImageId"], instance["SubnetId"]) == ("c5.xlarge", "ami-0abc", C)

    def test_user_data_comes_back_as_it_was_given(self, ec2: Any) -> None:
        (instance,) = ec2.run_instances(
            ImageId="ami-1", InstanceType="c5.large", UserData="hello & co", MinCount=1, MaxCount=1
        )["Instances"]
        data = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
        assert base64.b64decode(data["UserData"]["Value"]) == b"hello & co"

    def test_too_much_user_data_is_refused(self, ec2: Any) -> None:
        request = {"ImageId": "ami-1", "InstanceType": "c5.large", "MinCount": 1, "MaxCount": 1}
        assert refusal(ec2.run_instances, UserData="x" * 16_385, **request)[0] == "InvalidParameterValue"
        assert ec2.run_instances(UserData="x" * 16_384, **request)["Instances"]


class TestDescribeInstances:
    def test_an_id_that_does_not_exist_fails_the_whole_call(self, ec2: Any, template: str) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"))))
        assert refusal(ec2.describe_instances, InstanceIds=[id, "i-0123456789abcdef0"]) == (
            "InvalidInstanceID.NotFound",
            400,
        )

    def test_ids_and_a_page_size_do_not_go_together(self, ec2: Any, template: str) -> None:
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"))))
        assert refusal(ec2.describe_instances, InstanceIds=[id], MaxResults=10) == ("InvalidParameterCombination", 400)

    @pytest.mark.parametrize("size", [4, 1001])
    def test_a_page_is_five_to_a_thousand(self, ec2: Any, size: int) -> None:
        assert refusal(ec2.describe_instances, MaxResults=size) == ("InvalidParameterValue", 400)

    def test_pages_hold_each_instance_once_while_others_come_and_go(self, ec2: Any, template: str) -> None:
        value = str(uuid.uuid4())
        ids = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large"), count=12, TagSpecifications=tagged(value))))
        seen = []
        request = {"Filters": by_tag(value), "MaxResults": 5}
        page = ec2.describe_instances(**request)
        while True:
            seen += [i["InstanceId"] for r in page["Reservations"] for i in r["Instances"]]
            if "NextToken" not in page:
                break
            ec2.delete_tags(Resources=[seen[0]], Tags=[{"Key": "test"}])
            page = ec2.describe_instances(NextToken=page["NextToken"], **request)
        assert seen == ids

    def test_a_token_of_another_call_is_refused(self, ec2: Any, template: str) -> None:
        value = str(uuid.uuid4())
        ec2.create_fleet(**fleet(template, pool("c5.large"), count=6, TagSpecifications=tagged(value)))
        token = ec2.describe_instances(Filters=by_tag(value), MaxResults=5)["NextToken"]
        assert refusal(ec2.describe_instances, MaxResults=5, NextToken=token) == ("InvalidParameterValue", 400)

    def test_filters_combine_and_take_wildcards(self, ec2: Any, template: str) -> None:
        value = str(uuid.uuid4())
        for type in ("c5.large", "m5.xlarge"):
            ec2.create_fleet(**fleet(template, pool(type), TagSpecifications=tagged(f"{value}-{type}")))
        wildcard = [{"Name": "tag:test", "Values": [f"{value}-*"]}]
        assert len(instances(ec2, Filters=wildcard)) == 2
        narrowed = [*wildcard, {"Name": "instance-type", "Values": ["c5.*", "t2.*"]}]
        assert [i["InstanceType"] for i in instances(ec2, Filters=narrowed)] == ["c5.large"]
        ended = [*wildcard, {"Name": "instance-state-name", "Values": ["stopped", "terminated"]}]
        assert instances(ec2, Filters=ended) == []

    def test_a_filter_that_does_not_exist_is_refused(self, ec2: Any) -> None:
        assert refusal(ec2.describe_instances, Filters=[{"Name": "colour", "Values": ["red"]}]) == (
            "InvalidParameterValue",
            400,
        )

    def test_a_lagging_read_shows_no_new_instance_and_its_id_is_not_found(self, serve: Any) -> None:
        with serve(Scenario(read_lag_s=600.0)) as aws:
            client = aws.client("ec2")
            ids = ids_of(client.create_fleet(**fleet(make_template(client), pool("c5.large"))))
            assert instances(client) == []
            assert refusal(client.describe_instances, InstanceIds=ids)[0] == "InvalidInstanceID.NotFound"
            assert len(client.terminate_instances(InstanceIds=ids)["TerminatingInstances"]) == 1
            client.close()

    def test_an_address_may_come_later_than_the_instance(self, serve: Any) -> None:
        with serve(Scenario(address_lag_s=600.0)) as aws:
            client = aws.client("ec2")
            client.create_fleet(**fleet(make_template(client), pool("c5.large")))
            (found,) = instances(client)
            assert "PrivateIpAddress" not in found
            client.close()


class TestLaunchTemplates:
    def test_versions_latest_and_default_are_told_apart(self, ec2: Any) -> None:
        name = make_template(ec2, InstanceType="c5.large")
        ec2.create_launch_template_version(
            LaunchTemplateName=name, SourceVersion="1", LaunchTemplateData={"InstanceType": "c5.xlarge"}
        )
        (found,) = ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"]
        assert (found["DefaultVersionNumber"], found["LatestVersionNumber"]) == (1, 2)
        versions = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest", "$Default"])
        data = [v["LaunchTemplateData"] for v in versions["LaunchTemplateVersions"]]
        assert [(d["InstanceType"], d["ImageId"]) for d in data] == [
            ("c5.xlarge", "ami-0abc"),
            ("c5.large", "ami-0abc"),
        ]
        ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="2")
        assert refusal(ec2.create_fleet, **_with_version(fleet(name, pool("c5.large")), "9"))[0] == (
            "InvalidLaunchTemplateId.VersionNotFound"
        )
        ec2.delete_launch_template_versions(LaunchTemplateName=name, Versions=["1"])
        ec2.delete_launch_template(LaunchTemplateName=name)
        assert refusal(ec2.describe_launch_templates, LaunchTemplateNames=[name])[0] == (
            "InvalidLaunchTemplateName.NotFoundException"
        )

    def test_a_name_is_used_once(self, ec2: Any, template: str) -> None:
        assert refusal(ec2.create_launch_template, LaunchTemplateName=template, LaunchTemplateData={}) == (
            "InvalidLaunchTemplateName.AlreadyExistsException",
            400,
        )

    def test_everything_in_a_template_comes_back_as_it_was_given(self, ec2: Any) -> None:
        data = {
            "ImageId": "ami-0abc",
            "UserData": base64.b64encode(b"x").decode(),
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 40, "VolumeType": "gp3", "Encrypted": True}}
            ],
            "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-1"], "AssociatePublicIpAddress": False}],
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "b"}]}],
            "Monitoring": {"Enabled": True},
        }
        name = make_template(ec2, **data)
        (version,) = ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
        assert version["LaunchTemplateData"] == data


def _with_version(request: Any, version: str) -> Any:
    request["LaunchTemplateConfigs"][0]["LaunchTemplateSpecification"]["Version"] = version
    return request


class TestRegion:
    def test_it_has_zones_subnets_types_offerings_images_and_prices(self, ec2: Any) -> None:
        assert [z["ZoneName"] for z in ec2.describe_availability_zones()["AvailabilityZones"]] == list(ZONES)
        (subnet,) = ec2.describe_subnets(SubnetIds=[A])["Subnets"]
        assert subnet["AvailabilityZone"] == "us-east-1a"
        assert 0 < subnet["AvailableIpAddressCount"] <= 65_531
        (kind,) = ec2.describe_instance_types(InstanceTypes=["c5.xlarge"])["InstanceTypes"]
        assert (kind["VCpuInfo"]["DefaultVCpus"], kind["MemoryInfo"]["SizeInMiB"]) == (4, 8192)
        offered = ec2.describe_instance_type_offerings(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["c5.xlarge"]}]
        )
        assert [o["Location"] for o in offered["InstanceTypeOfferings"]] == list(ZONES)
        assert ec2.describe_images(ImageIds=["ami-0123"])["Images"][0]["State"] == "available"
        prices = ec2.describe_spot_price_history(InstanceTypes=["c5.xlarge"], ProductDescriptions=["Linux/UNIX"])
        assert {p["SpotPrice"] for p in prices["SpotPriceHistory"]} == {"0.068000"}

    def test_what_does_not_exist_is_not_found(self, ec2: Any) -> None:
        assert refusal(ec2.describe_subnets, SubnetIds=["subnet-1"])[0] == "InvalidSubnetID.NotFound"
        assert refusal(ec2.describe_instance_types, InstanceTypes=["c5.huge"])[0] == "InvalidInstanceType"
        assert refusal(ec2.describe_images, ImageIds=["x"])[0] == "InvalidAMIID.Malformed"
        assert refusal(ec2.describe_placement_groups, GroupNames=["x"])[0] == "InvalidPlacementGroup.Unknown"

    def test_placement_groups_have_a_name_and_a_strategy(self, ec2: Any) -> None:
        name = f"pg-{uuid.uuid4()}"
        ec2.create_placement_group(GroupName=name, Strategy="cluster")
        assert refusal(ec2.create_placement_group, GroupName=name, Strategy="spread")[0] == (
            "InvalidPlacementGroup.Duplicate"
        )
        (group,) = ec2.describe_placement_groups(GroupNames=[name])["PlacementGroups"]
        assert (group["Strategy"], group["State"]) == ("cluster", "available")
        ec2.delete_placement_group(GroupName=name)


class TestProtocol:
    def test_an_action_that_ec2_has_and_the_lab_has_not_is_an_invalid_action(self, ec2: Any) -> None:
        assert refusal(ec2.describe_host_reservations) == ("InvalidAction", 400)

    def test_a_parameter_that_does_not_exist_is_refused(self, aws_endpoints: Any) -> None:
        status, body = post(aws_endpoints, "Action=DescribeInstances&Version=2016-11-15&Colour=red")
        assert (status, "<Code>UnknownParameter</Code>" in body) == (400, True)

    def test_a_value_of_the_wrong_type_is_refused(self, aws_endpoints: Any) -> None:
        status, body = post(aws_endpoints, "Action=DescribeInstances&Version=2016-11-15&MaxResults=many")
        assert (status, "<Code>InvalidParameterValue</Code>" in body) == (400, True)

    def test_a_call_without_an_action_is_refused(self, aws_endpoints: Any) -> None:
        status, body = post(aws_endpoints, "Version=2016-11-15")
        assert (status, "<Code>MissingAction</Code>" in body) == (400, True)


def post(aws: Any, form: str) -> tuple[int, str]:
    """Status and body of an unsigned call."""
    try:
        with urllib.request.urlopen(aws.endpoint_url, data=form.encode(), timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
