// The binary interface of libjpeg 6b, which libjpeg-turbo keeps (ABI 62; 64-bit).
//
// The library itself is the one that Pillow has loaded, whose headers are not installed with it.
// jpeg_CreateDecompress compares the version and the size of the structure and refuses others.

#pragma once

#include <cstddef>

namespace jpeg {

constexpr int kVersion = 62;
constexpr int kExtRgb = 6, kExtRgbx = 7;  // JCS_EXT_RGB, JCS_EXT_RGBX
constexpr int kHeaderOk = 1;              // JPEG_HEADER_OK

struct Decompress;

struct ErrorManager {
  void (*error_exit)(Decompress*);
  void (*emit_message)(Decompress*, int level);
  void (*output_message)(Decompress*);
  void (*format_message)(Decompress*, char*);
  void (*reset)(Decompress*);
  int code;
  union {
    int numbers[8];
    char text[80];
  } parameters;
  int trace_level;
  long num_warnings;
  const char* const* messages;
  int last_message;
  const char* const* more_messages;
  int first_more, last_more;
};

// struct jpeg_decompress_struct; the fields that are not used here have the names of the original.
struct Decompress {
  ErrorManager* err;
  void *mem, *progress, *client_data;
  int is_decompressor, global_state;
  void* src;
  unsigned image_width, image_height;
  int num_components, jpeg_color_space, out_color_space;
  unsigned scale_num, scale_denom;
  double output_gamma;
  int buffered_image, raw_data_out, dct_method, do_fancy_upsampling, do_block_smoothing;
  int quantize_colors, dither_mode, two_pass_quantize, desired_number_of_colors;
  int enable_1pass_quant, enable_external_quant, enable_2pass_quant;
  unsigned output_width, output_height;
  int out_color_components, output_components, rec_outbuf_height, actual_number_of_colors;
  unsigned char** colormap;
  unsigned output_scanline;
  int input_scan_number;
  unsigned input_iMCU_row;
  int output_scan_number;
  unsigned output_iMCU_row;
  void* coef_bits;
  void *quant_tbl_ptrs[4], *dc_huff_tbl_ptrs[4], *ac_huff_tbl_ptrs[4];
  int data_precision;
  void* comp_info;
  int progressive_mode, arith_code;
  unsigned char arith_dc_L[16], arith_dc_U[16], arith_ac_K[16];
  unsigned restart_interval;
  int saw_JFIF_marker;
  unsigned char JFIF_major_version, JFIF_minor_version, density_unit;
  unsigned short X_density, Y_density;
  int saw_Adobe_marker;
  unsigned char Adobe_transform;
  int CCIR601_sampling;
  void* marker_list;
  int max_h_samp_factor, max_v_samp_factor, min_DCT_scaled_size;
  unsigned total_iMCU_rows;
  void* sample_range_limit;
  int comps_in_scan;
  void* cur_comp_info[4];
  unsigned MCUs_per_row, MCU_rows_in_scan;
  int blocks_in_MCU, MCU_membership[10];
  int Ss, Se, Ah, Al, unread_marker;
  void *master, *main, *coef, *post, *inputctl, *marker, *entropy, *idct, *upsample, *cconvert;
  void* cquantize;
};

// Addresses of the library's functions, in the order of LIBJPEG_FUNCTIONS in jpeg_library.py.
struct Library {
  ErrorManager* (*std_error)(ErrorManager*);
  void (*create_decompress)(Decompress*, int version, std::size_t size);
  void (*mem_src)(Decompress*, const unsigned char*, unsigned long);
  int (*read_header)(Decompress*, int require_image);
  int (*start_decompress)(Decompress*);
  void (*crop_scanline)(Decompress*, unsigned* left, unsigned* width);
  unsigned (*skip_scanlines)(Decompress*, unsigned lines);
  unsigned (*read_scanlines)(Decompress*, unsigned char** rows, unsigned lines);
  void (*destroy_decompress)(Decompress*);
};

}  // namespace jpeg
