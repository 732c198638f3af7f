#include <gtest/gtest.h>

#include "plugins/proxmox/text.hpp"

namespace {
using namespace weir::proxmox;

TEST(volid, of_the_backup_server) {
  auto const v = parse_backup_volume("pbs:backup/vm/100/2026-04-29T01:00:00Z");
  ASSERT_TRUE(v);
  EXPECT_EQ(v->storage, "pbs");
  EXPECT_EQ(v->type, guest::qemu);
  EXPECT_EQ(v->vmid, 100U);
  EXPECT_EQ(v->instant, 1777424400);  // date -u -d 2026-04-29T01:00:00Z +%s
  EXPECT_TRUE(v->instant_is_utc);
  EXPECT_EQ(v->format, "pbs-vm");
  EXPECT_EQ(parse_backup_volume("pbs:backup/ct/7/2026-04-29T01:00:00Z")->type, guest::lxc);
  EXPECT_EQ(parse_backup_volume("pbs:backup/ct/7/2026-04-29T01:00:00Z")->format, "pbs-ct");
}

TEST(volid, of_the_backup_server_with_a_fault_keeps_what_is_sound) {
  auto const host = parse_backup_volume("pbs:backup/host/web/2026-04-29T01:00:00Z");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->type, guest::unknown);
  EXPECT_FALSE(host->vmid);
  auto const no_zone = parse_backup_volume("pbs:backup/vm/100/2026-04-29T01:00:00");
  EXPECT_EQ(no_zone->vmid, 100U);
  EXPECT_FALSE(no_zone->instant);
  EXPECT_FALSE(parse_backup_volume("pbs:backup/vm/100/2026-02-30T01:00:00Z")->instant);
  EXPECT_FALSE(parse_backup_volume("pbs:backup/vm/100/2026-04-29T24:00:00Z")->instant);
  EXPECT_FALSE(parse_backup_volume("pbs:backup/vm/99999999999999999999/2026-04-29T01:00:00Z")->vmid);
}

TEST(volid, of_vzdump) {
  auto const v = parse_backup_volume("nfs:backup/vzdump-qemu-100-2026_04_29-01_00_00.vma.zst");
  ASSERT_TRUE(v);
  EXPECT_EQ(v->storage, "nfs");
  EXPECT_EQ(v->type, guest::qemu);
  EXPECT_EQ(v->vmid, 100U);
  EXPECT_EQ(v->instant, 1777424400);
  EXPECT_FALSE(v->instant_is_utc);  // the node's local time
  EXPECT_EQ(v->format, "vma.zst");
  EXPECT_EQ(parse_backup_volume("a:backup/vzdump-lxc-101-2026_04_29-01_00_00.tar.zst")->format, "tar.zst");
  EXPECT_EQ(parse_backup_volume("a:backup/vzdump-lxc-101-2026_04_29-01_00_00.tgz")->format, "tgz");
  EXPECT_EQ(parse_backup_volume("a:backup/vzdump-lxc-101-2026_04_29-01_00_00.tar")->format, "tar");
  EXPECT_EQ(parse_backup_volume("a:backup/vzdump-openvz-101-2010_04_29-01_00_00.tgz")->type, guest::lxc);
  auto const renamed = parse_backup_volume("a:backup/vzdump-qemu-105-before.upgrade.vma.gz");
  EXPECT_EQ(renamed->vmid, 105U);
  EXPECT_FALSE(renamed->instant);
  EXPECT_EQ(renamed->format, "vma.gz");
}

TEST(volid, without_a_storage_is_none) {
  for (auto const text : {"", ":", "nfs:", ":backup/x", "vzdump-qemu-100", "backup/vm/100"}) {
    EXPECT_FALSE(parse_backup_volume(text)) << text;
  }
  auto const other = parse_backup_volume("local:iso/debian.iso");
  ASSERT_TRUE(other);
  EXPECT_FALSE(other->vmid);
  EXPECT_EQ(other->format, "");
}

TEST(size, units) {
  EXPECT_EQ(parse_size("32G"), 34359738368U);
  EXPECT_EQ(parse_size("528K"), 540672U);
  EXPECT_EQ(parse_size("4M"), 4194304U);
  EXPECT_EQ(parse_size("1T"), 1099511627776U);
  EXPECT_EQ(parse_size("1.5T"), 1649267441664U);
  EXPECT_EQ(parse_size("8.25G"), 8858370048U);
  EXPECT_EQ(parse_size("1024"), 1024U);
  EXPECT_EQ(parse_size("0"), 0U);
}

TEST(size, what_is_none) {
  for (auto const text :
       {"", "G", "-1G", "1GG", "1 G", "1.G", ".5G", "1E", "99999999999999999999G", "16383P9", "20000000P"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(disk, what_counts) {
  EXPECT_EQ(disk_bytes("scsi0", "local-lvm:vm-100-disk-0,cache=none,size=32G,ssd=1"), 34359738368U);
  EXPECT_EQ(disk_bytes("rootfs", "local-lvm:vm-101-disk-0,size=8G"), 8589934592U);
  EXPECT_EQ(disk_bytes("mp15", "nfs:101/vm-101-disk-1.raw,mp=/srv,size=1T"), 1099511627776U);
  EXPECT_EQ(disk_bytes("efidisk0", "local-lvm:vm-100-disk-1,efitype=4m,size=528K"), 540672U);
  EXPECT_EQ(disk_bytes("tpmstate0", "local-lvm:vm-100-disk-2,size=4M,version=v2.0"), 4194304U);
  EXPECT_EQ(disk_bytes("virtio2", "ceph:vm-100-disk-3,size=1.5T"), 1649267441664U);
}

TEST(disk, what_does_not) {
  EXPECT_FALSE(disk_bytes("ide2", "none,media=cdrom"));
  EXPECT_FALSE(disk_bytes("ide2", "local:iso/debian-12.iso,media=cdrom,size=654M"));
  EXPECT_FALSE(disk_bytes("ide2", "cdrom,media=cdrom"));
  EXPECT_FALSE(disk_bytes("ide0", "local-lvm:vm-100-cloudinit,media=cdrom,size=4M"));
  EXPECT_FALSE(disk_bytes("scsi1", "nfs:100/vm-100-cloudinit.qcow2,size=4M"));
  EXPECT_FALSE(disk_bytes("scsi1", "/dev/disk/by-id/ata-X"));
  EXPECT_FALSE(disk_bytes("mp0", "/mnt/bind,mp=/shared"));
  EXPECT_FALSE(disk_bytes("unused0", "local-lvm:vm-100-disk-9,size=9G"));
  for (auto const key : {"scsihw", "scsi", "memory", "mp", "scsi0x", "net0", "ide", "rootfs0", ""}) {
    EXPECT_FALSE(is_disk_key(key)) << key;
  }
}

TEST(property, finds_whole_names_only) {
  EXPECT_EQ(property("a:b,size=1,x=2", "size"), "1");
  EXPECT_EQ(property("a:b,maxsize=1", "size"), std::nullopt);
  EXPECT_EQ(property("size=", "size"), "");
  EXPECT_EQ(property("", "size"), std::nullopt);
}

TEST(tags, all_separators_of_all_versions) {
  EXPECT_EQ(split_list("prod;web").size(), 2U);
  EXPECT_EQ(split_list("prod,web db").size(), 3U);
  EXPECT_TRUE(split_list(" ").empty());
  EXPECT_TRUE(split_list("").empty());
  EXPECT_EQ(split_list(";;prod; ").at(0), "prod");
}

TEST(slug, is_what_netbox_takes) {
  EXPECT_EQ(slug("Prod Web.1"), "prod-web-1");
  EXPECT_EQ(slug("go-proxmox+cloud-init"), "go-proxmox-cloud-init");
  EXPECT_EQ(slug("--a  b--"), "a-b");
  EXPECT_EQ(slug("a_b"), "a_b");
  EXPECT_EQ(slug(std::string(300, 'x')).size(), 100U);
  EXPECT_EQ(slug("é").front(), 'x');  // nothing usable: a name of its own, the same each time
  EXPECT_EQ(slug("é"), slug("é"));
  EXPECT_NE(slug("é"), slug("ü"));
}

TEST(text, is_cut_between_characters) {
  EXPECT_EQ(cut("añb", 2), "añ");
  EXPECT_EQ(cut("añb", 9), "añb");
  EXPECT_EQ(cut("abc", 0), "");
  EXPECT_EQ(characters("añ€"), 3U);
}

TEST(text, first_line) {
  EXPECT_EQ(first_line("\n  \r\n  Web server  \nmore", 200), "Web server");
  EXPECT_EQ(first_line("", 200), "");
  EXPECT_EQ(first_line("\n\n", 200), "");
  EXPECT_EQ(first_line(std::string(199, 'x') + "€€", 200), std::string(199, 'x') + "€");
  EXPECT_EQ(first_line(std::string("a\0b\x01\tc", 6), 200), "ab c");
}

TEST(time, utc) {
  EXPECT_EQ(to_utc(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(to_utc(1777424400), "2026-04-29T01:00:00Z");
  EXPECT_EQ(to_utc(951868799), "2000-02-29T23:59:59Z");
  EXPECT_FALSE(to_utc(-1));
  EXPECT_FALSE(to_utc(253402300800));
}

TEST(url, segments_are_encoded) {
  EXPECT_EQ(url_segment("pve-1.lab_a"), "pve-1.lab_a");
  EXPECT_EQ(url_segment("a/b ?é"), "a%2Fb%20%3F%C3%A9");
}

TEST(format, of_proxmox_to_netbox) {
  EXPECT_EQ(to_format("vma.zst").value, "zst");
  EXPECT_EQ(to_format("tar.zst").value, "tzst");
  EXPECT_EQ(to_format("tar.gz").value, "tgz");
  EXPECT_EQ(to_format("pbs-ct").value, "pbs-ct");
  EXPECT_TRUE(to_format("vma.lzo").known);
  EXPECT_EQ(to_format("vma.lzo").value, "undefined");
  EXPECT_FALSE(to_format("vma.xyz").known);
  EXPECT_EQ(to_format("vma.xyz").value, "undefined");
  EXPECT_FALSE(to_format("").known);
}

TEST(colour, is_six_digits_and_stable) {
  EXPECT_EQ(colour_of("prod"), colour_of("prod"));
  EXPECT_EQ(colour_of("prod").size(), 6U);
  EXPECT_EQ(colour_of("prod").find_first_not_of("0123456789abcdef"), std::string::npos);
}

}  // namespace
