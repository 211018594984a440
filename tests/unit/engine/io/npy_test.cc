#include "engine/io/npy.h"

#include <fstream>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string TempPath(const std::string& name) {
  return testing::TempDir() + "ptychoserve_npy_" + name;
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// An NPY file of format `major` with this header dictionary and these data.
std::string NpyBytes(const std::string& dict, const std::string& data, char major = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += major;
  bytes += '\0';
  bytes += static_cast<char>(dict.size() & 0xff);
  bytes += static_cast<char>(dict.size() >> 8);
  if (major == 2) bytes += std::string(2, '\0');
  return bytes + dict + data;
}

TEST(Npy, HeaderIsTheOneThatNumpyWrites) {
  const NpyArray array = NpyArray::FromFloat({3}, {1, 2, 3});
  std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
  dict.resize(117, ' ');
  const std::string expected = NpyBytes(dict + "\n", "");
  EXPECT_EQ(expected.size(), 128u);
  EXPECT_EQ(NpyHeader(array).value(), expected);
}

TEST(Npy, RoundTripKeepsTypeShapeAndBits) {
  const std::string path = TempPath("round_trip.npy");
  const std::vector<Complex64> values = {{1, -2}, {0.1f, 0}, {3e30f, 4}, {5, 6}, {7, 8}, {9, 1}};
  for (const NpyArray& array :
       {NpyArray::FromComplex({2, 3}, values), NpyArray::FromFloat({2, 1, 2}, {1, 2, 3, 4}),
        NpyArray::FromDouble({}, {0.1}), NpyArray::FromDouble({0, 4}, {})}) {
    ASSERT_TRUE(WriteNpy(path, array).ok());
    const absl::StatusOr<NpyArray> read = ReadNpy(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->descr, array.descr);
    EXPECT_EQ(read->shape, array.shape);
    EXPECT_EQ(read->data, array.data);
  }
}

TEST(Npy, ReadsFormatVersionTwoAndKeysInAnyOrder) {
  const std::string path = TempPath("version2.npy");
  WriteBytes(
      path, NpyBytes("{\"shape\": (2,1), 'fortran_order':False, 'descr': '|u1'}\n", "\x05\xff", 2));
  const absl::StatusOr<NpyArray> array = ReadNpy(path);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ElementsAre(2, 1));
  EXPECT_THAT(array->ToDouble().value(), ElementsAre(5, 255));
}

TEST(Npy, ConvertsEveryIntegerType) {
  const std::string minus_two("\xfe\xff\xff\xff\xff\xff\xff\xff", 8);
  const auto convert = [&](const std::string& descr, std::size_t size) {
    const std::string path = TempPath("integers.npy");
    WriteBytes(path, NpyBytes("{'descr': '" + descr + "', 'fortran_order': False, 'shape': (1,), }",
                              minus_two.substr(0, size)));
    return ReadNpy(path).value().ToDouble().value()[0];
  };
  EXPECT_EQ(convert("|i1", 1), -2);
  EXPECT_EQ(convert("<i2", 2), -2);
  EXPECT_EQ(convert("<i4", 4), -2);
  EXPECT_EQ(convert("<i8", 8), -2);
  EXPECT_EQ(convert("|u1", 1), 254);
  EXPECT_EQ(convert("<u2", 2), 65534);
  EXPECT_EQ(convert("<u4", 4), 4294967294.0);
  EXPECT_EQ(convert("<u8", 8), 18446744073709551614.0);
}

TEST(Npy, ComplexArrayIsNotTakenForReal) {
  const NpyArray array = NpyArray::FromComplex({1}, {{1, 2}});
  EXPECT_EQ(array.ToDouble().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(array.ToComplexDouble().value(), ElementsAre(std::complex<double>(1, 2)));
  EXPECT_THAT(NpyArray::FromFloat({1}, {3}).ToComplexDouble().value(),
              ElementsAre(std::complex<double>(3, 0)));
}

struct BadFile {
  std::string bytes;
  std::string message;
};

TEST(Npy, BadFilesAreRefusedWithTheReason) {
  const std::string tail = "', 'fortran_order': False, 'shape': (2,), }";
  const std::string path = TempPath("bad.npy");
  for (const BadFile& bad : {
           BadFile{"", "too short"},
           BadFile{"PK\x03\x04 and so on", "\\x93NUMPY"},
           BadFile{NpyBytes("{'descr': '<f4" + tail, "12345678").substr(0, 30), "too short"},
           BadFile{NpyBytes("{'descr': '<f4" + tail, "1234567"), "7 bytes"},
           BadFile{NpyBytes("{'descr': '<f4" + tail, "12345678", 3), "version 3"},
           BadFile{NpyBytes("{'descr': '>f4" + tail, "12345678"), "big-endian"},
           BadFile{NpyBytes("{'descr': '|O8" + tail, "12345678"), "'|O8' is not supported"},
           BadFile{NpyBytes("{'descr': [('r', '<f4')" + tail, "12345678"), "structures"},
           BadFile{NpyBytes("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "12345678"),
                   "Fortran order"},
           BadFile{
               NpyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "12345678"),
               "a shape"},
           BadFile{NpyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': "
                            "(4294967296, 4294967296), }",
                            ""),
                   "needs more data"},
           BadFile{NpyBytes("{'descr': '<f4', 'shape': (2,), }", "12345678"), "fortran_order"},
           BadFile{NpyBytes("{'descr': '<f4', 'fortran_order': False", "12345678"), "malformed"},
       }) {
    WriteBytes(path, bad.bytes);
    const absl::Status status = ReadNpy(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
}

TEST(Npy, MissingFileAndMissingDirectory) {
  EXPECT_EQ(ReadNpy(TempPath("absent.npy")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(WriteNpy(TempPath("absent/x.npy"), NpyArray::FromFloat({0}, {})).code(),
            absl::StatusCode::kInternal);
}

TEST(Npy, ShapeThatContradictsTheDataIsRefused) {
  EXPECT_EQ(WriteNpy(TempPath("mismatch.npy"), NpyArray::FromFloat({3}, {1, 2})).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Npz, MembersAreStoredNpyFilesWithDirectory) {
  const std::string path = TempPath("two.npz");
  const NpyArray a = NpyArray::FromFloat({2}, {1, 2});
  const NpyArray b = NpyArray::FromComplex({1, 1}, {{3, 4}});
  ASSERT_TRUE(WriteNpz(path, {{"first", a}, {"second", b}}).ok());
  const std::string bytes = ReadBytes(path);
  EXPECT_THAT(bytes, HasSubstr(std::string("PK\x03\x04", 4)));
  const std::string npy =
      NpyHeader(a).value() + std::string(reinterpret_cast<const char*>(a.data.data()), 8);
  constexpr std::size_t kLocalHeaderBytes = 30;
  EXPECT_EQ(bytes.substr(kLocalHeaderBytes, 9), "first.npy");
  EXPECT_EQ(bytes.substr(kLocalHeaderBytes + 9, npy.size()), npy);
  const std::string end = bytes.substr(bytes.size() - 22);
  EXPECT_EQ(end.substr(0, 4), "PK\x05\x06");
  EXPECT_EQ(end[8], 2);   // Members on this disk.
  EXPECT_EQ(end[10], 2);  // Members in all.
}

TEST(Npz, TwoArraysOfOneNameAreRefused) {
  const NpyArray a = NpyArray::FromFloat({1}, {1});
  EXPECT_EQ(WriteNpz(TempPath("twice.npz"), {{"a", a}, {"a", a}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ProbeNpy, RoundTripAndTwoDimensions) {
  ComplexStack probe(2, {2, 3});
  for (std::size_t i = 0; i < probe.data.size(); ++i) {
    probe.data[i] = Complex64(static_cast<float>(i), -0.5f);
  }
  const std::string path = TempPath("probe.npy");
  ASSERT_TRUE(WriteProbeNpy(path, probe).ok());
  const absl::StatusOr<ComplexStack> read = ReadProbeNpy(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->modes, 2);
  EXPECT_EQ(read->shape, probe.shape);
  EXPECT_EQ(read->data, probe.data);

  ASSERT_TRUE(WriteNpy(path, NpyArray::FromDouble({1, 2}, {3, 4})).ok());
  EXPECT_EQ(ReadProbeNpy(path).value().modes, 1);
  EXPECT_THAT(ReadProbeNpy(path).value().data, ElementsAre(Complex64(3, 0), Complex64(4, 0)));
}

TEST(ProbeNpy, WrongRankEmptyAndNonFiniteAreRefused) {
  const std::string path = TempPath("bad_probe.npy");
  ASSERT_TRUE(WriteNpy(path, NpyArray::FromFloat({4}, {1, 2, 3, 4})).ok());
  EXPECT_THAT(std::string(ReadProbeNpy(path).status().message()), HasSubstr("not (4)"));
  ASSERT_TRUE(WriteNpy(path, NpyArray::FromFloat({0, 4}, {})).ok());
  EXPECT_EQ(ReadProbeNpy(path).status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(
      WriteNpy(path, NpyArray::FromFloat({1, 2}, {1, std::numeric_limits<float>::quiet_NaN()}))
          .ok());
  EXPECT_THAT(std::string(ReadProbeNpy(path).status().message()), HasSubstr("element 1"));
}

TEST(ProbeNpy, ValuesBeyondSinglePrecisionAreRefused) {
  const std::string path = TempPath("large_probe.npy");
  ASSERT_TRUE(WriteNpy(path, NpyArray::FromDouble({1, 2}, {1e38, 1e39})).ok());
  EXPECT_THAT(std::string(ReadProbeNpy(path).status().message()), HasSubstr("element 1"));
}

}  // namespace
}  // namespace ptychoserve
