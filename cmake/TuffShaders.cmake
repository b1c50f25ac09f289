# GLSL to SPIR-V to C: each shader is compiled for Vulkan 1.2, checked by spirv-val and embedded.
#
#   tuff_shader(NAME folder/file.comp [TEXELS n] [DEFINES A=1 B ...])
#
# in shaders/CMakeLists.txt adds KERNEL_NAME to `enum kernel_id` in the generated kernels.h. The same
# file may stand in several lines with other DEFINES. TEXELS n: its first n bindings are texel buffers as well
# (runtime/device/device.h), and TEXELS is defined in it.

function(tuff_shader name source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" TEXELS DEFINES)
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/shaders/${source})
    message(FATAL_ERROR "tuff_shader(${name} ${source}): there is no shaders/${source}")
  endif()
  get_property(names GLOBAL PROPERTY TUFF_SHADERS)
  if(name IN_LIST names)
    message(FATAL_ERROR "tuff_shader(${name} ${source}): this name is used by another shader")
  endif()
  set_property(GLOBAL APPEND PROPERTY TUFF_SHADERS ${name})
  set_property(GLOBAL PROPERTY TUFF_SHADER_${name}_SOURCE ${source})
  if(arg_TEXELS)
    list(APPEND arg_DEFINES TEXELS)
    set_property(GLOBAL PROPERTY TUFF_SHADER_${name}_TEXELS ${arg_TEXELS})
  else()
    set_property(GLOBAL PROPERTY TUFF_SHADER_${name}_TEXELS 0)
  endif()
  set_property(GLOBAL PROPERTY TUFF_SHADER_${name}_DEFINES ${arg_DEFINES})
endfunction()

# Called once, in the folder of the target, after the list: custom commands belong to their folder.
function(tuff_embed_shaders target)
  set(generated ${PROJECT_BINARY_DIR}/generated)
  set(embed ${PROJECT_SOURCE_DIR}/cmake/embed.cmake)
  get_property(names GLOBAL PROPERTY TUFF_SHADERS)
  set(KERNEL_ENUM "")
  set(KERNEL_WORDS "")
  set(KERNEL_TABLE "")
  set(sources "")
  foreach(name IN LISTS names)
    get_property(source GLOBAL PROPERTY TUFF_SHADER_${name}_SOURCE)
    get_property(defines GLOBAL PROPERTY TUFF_SHADER_${name}_DEFINES)
    get_property(texels GLOBAL PROPERTY TUFF_SHADER_${name}_TEXELS)
    string(TOLOWER ${name} file)
    string(APPEND KERNEL_ENUM "    KERNEL_${name},\n")
    string(APPEND KERNEL_WORDS "static const uint32_t words_${name}[] = {\n#include \"spirv/${file}.inc\"\n};\n")
    string(APPEND KERNEL_TABLE "    [KERNEL_${name}] = { \"${name}\", words_${name}, sizeof words_${name}, ${texels} },\n")
    set(spirv ${generated}/spirv/${file}.spv)
    set(words ${generated}/spirv/${file}.inc)
    list(TRANSFORM defines PREPEND -D)
    add_custom_command(OUTPUT ${spirv}
      COMMAND ${GLSLANG_VALIDATOR} --quiet -V --target-env vulkan1.2 -S comp ${defines}
        -I${PROJECT_SOURCE_DIR}/shaders --depfile ${spirv}.d -o ${spirv} ${PROJECT_SOURCE_DIR}/shaders/${source}
      DEPENDS ${PROJECT_SOURCE_DIR}/shaders/${source}
      DEPFILE ${spirv}.d
      COMMENT "Shader ${name}" VERBATIM)
    # checked here, so that what is invalid never becomes code
    add_custom_command(OUTPUT ${words}
      COMMAND ${CMAKE_COMMAND} -DSPIRV_VAL=${SPIRV_VAL} -DSPIRV=${spirv} -DWORDS=${words} -P ${embed}
      DEPENDS ${spirv} ${embed}
      COMMENT "Embedding ${name}" VERBATIM)
    list(APPEND sources ${words})
  endforeach()
  file(MAKE_DIRECTORY ${generated}/spirv)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/kernels.h.in ${generated}/kernels.h @ONLY)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/kernels.c.in ${generated}/kernels.c @ONLY)
  set_source_files_properties(${generated}/kernels.c PROPERTIES OBJECT_DEPENDS "${sources}")
  target_sources(${target} PRIVATE ${generated}/kernels.c ${sources})
endfunction()
