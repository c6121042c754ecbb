# An AMI for one kind of machine, made of a base image by the roles' `install` steps. `make image` runs this.

variable "bundle" {
  type        = string
  description = "What `make image-bundle` has made."
}

variable "kind" {
  type        = string
  description = "Which machines boot from it."
  validation {
    condition     = contains(["head", "compute", "login"], var.kind)
    error_message = "The kind is head, compute or login."
  }
}

variable "steps" {
  type        = string
  default     = "install"
  description = "Tags of the plays: install, or install,configure for compute nodes of one cluster."
  validation {
    condition     = contains(["install", "install,configure"], var.steps)
    error_message = "The steps are install, or install,configure."
  }
}

variable "os" {
  type        = string
  description = "Image.Os of cluster.yaml."
  validation {
    condition     = contains(["alinux2023", "debian12", "debian13", "rhel9", "rocky9", "ubuntu2204", "ubuntu2404"], var.os)
    error_message = "The cookbooks support alinux2023, rhel9, rocky9, ubuntu2204, ubuntu2404, debian12 and debian13."
  }
}

variable "region" {
  type        = string
  description = "Region of cluster.yaml."
}

variable "slurm_release" {
  type        = string
  description = "Release of Slurm that the packages have to bring, such as 23.11: the image's tag, and checked."
}

variable "clustermgtd_version" {
  type        = string
  description = "For the image's name and tag."
}

variable "architecture" {
  type        = string
  default     = "x86_64"
  description = "x86_64 or arm64."
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture is x86_64 or arm64."
  }
}

variable "instance_type" {
  type        = string
  default     = ""
  description = "Of the instance that makes the image; empty: c7i.large, or c7g.large for arm64."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Where it is made; empty: the default VPC."
}

variable "ssh_interface" {
  type        = string
  default     = ""
  description = "public_ip, private_ip or session_manager; empty: public_ip if it has one."
}

variable "iam_instance_profile" {
  type        = string
  default     = ""
  description = "Of the instance that makes the image: needed by session_manager, and where packages come from S3."
}

variable "base_image_id" {
  type        = string
  default     = ""
  description = "AMI to start from; empty: the newest of the operating system's maker."
}

variable "volume_size" {
  type        = number
  default     = 20
  description = "Root volume, GiB."
}

variable "kms_key_id" {
  type        = string
  default     = ""
  description = "Key that encrypts the image; empty: the account's default key of EBS."
}

variable "proxy" {
  type        = string
  default     = ""
  description = "URL of the HTTP proxy through which the machine reaches packages."
}

variable "pip_arguments" {
  type        = string
  default     = ""
  description = "More arguments of pip install, such as --index-url URL."
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "More tags of the image, its snapshot, and of what makes it."
}

locals {
  # Accounts of the makers, which are others in the China and GovCloud regions: set base_image_id there.
  base_images = {
    alinux2023 = { owner = "137112412989", name = "al2023-ami-2023.*-kernel-6.1-*", user = "ec2-user", device = "/dev/xvda" }
    debian12   = { owner = "136693071363", name = "debian-12-*", user = "admin", device = "/dev/xvda" }
    debian13   = { owner = "136693071363", name = "debian-13-*", user = "admin", device = "/dev/xvda" }
    rhel9      = { owner = "309956199498", name = "RHEL-9.*_HVM-*-Hourly2-GP3", user = "ec2-user", device = "/dev/sda1" }
    rocky9     = { owner = "792107900819", name = "Rocky-9-EC2-Base-9.*", user = "rocky", device = "/dev/sda1" }
    ubuntu2204 = { owner = "099720109477", name = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-*-server-*", user = "ubuntu", device = "/dev/sda1" }
    ubuntu2404 = { owner = "099720109477", name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-*-server-*", user = "ubuntu", device = "/dev/sda1" }
  }
  base = local.base_images[var.os]
  tags = merge(var.tags, {
    "clustermgtd:image-kind"    = var.kind
    "clustermgtd:image-os"      = var.os
    "clustermgtd:version"       = var.clustermgtd_version
    "clustermgtd:slurm-release" = var.slurm_release
  })
  made_at = formatdate("YYYYMMDD-hhmm", timestamp())
}

source "amazon-ebs" "node" {
  ami_name             = "clustermgtd-${var.clustermgtd_version}-slurm-${var.slurm_release}-${var.os}-${var.architecture}-${var.kind}-${local.made_at}"
  ami_description      = "A ${var.kind} node: clustermgtd ${var.clustermgtd_version}, Slurm ${var.slurm_release}"
  region               = var.region
  instance_type        = var.instance_type != "" ? var.instance_type : var.architecture == "arm64" ? "c7g.large" : "c7i.large"
  subnet_id            = var.subnet_id
  iam_instance_profile = var.iam_instance_profile

  source_ami_filter {
    filters = merge(
      {
        architecture        = var.architecture
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      },
      var.base_image_id != "" ? { image-id = var.base_image_id } : { name = local.base.name },
    )
    owners      = var.base_image_id != "" ? ["self", "amazon", "aws-marketplace", local.base.owner] : [local.base.owner]
    most_recent = true
  }

  communicator            = "ssh"
  ssh_username            = local.base.user
  ssh_interface           = var.ssh_interface
  temporary_key_pair_type = "ed25519"

  # Neither the machine that makes the image nor those that boot from it answer version 1 of the metadata service.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  encrypt_boot = true
  kms_key_id   = var.kms_key_id
  launch_block_device_mappings {
    device_name           = local.base.device
    volume_size           = var.volume_size
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  tags            = local.tags
  snapshot_tags   = local.tags
  run_tags        = merge(local.tags, { Name = "clustermgtd image" })
  run_volume_tags = local.tags
}

build {
  sources = ["source.amazon-ebs.node"]

  provisioner "file" {
    source      = var.bundle
    destination = "/tmp/clustermgtd-image.tar.gz"
  }

  provisioner "shell" {
    environment_vars = var.proxy == "" ? [] : ["http_proxy=${var.proxy}", "https_proxy=${var.proxy}"]
    execute_command  = "sudo env {{ .Vars }} sh -eu {{ .Path }}"
    inline = [
      "mkdir /var/tmp/clustermgtd-image",
      "tar -xzf /tmp/clustermgtd-image.tar.gz -C /var/tmp/clustermgtd-image",
      "sh /var/tmp/clustermgtd-image/cookbooks/image/make-image ${var.kind} ${var.steps} ${var.slurm_release} ${var.pip_arguments}",
      "rm -rf /var/tmp/clustermgtd-image /tmp/clustermgtd-image.tar.gz",
      "sh /opt/clustermgtd/cookbooks/image/clean-image",
      "sh /opt/clustermgtd/cookbooks/image/check-image ${var.kind}",
    ]
  }
}
